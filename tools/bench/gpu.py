"""The transformer on an NVIDIA GPU, ours beside diffusers' (eager, and compiled), the same random weights of the published
shapes: seconds a step, peak memory, agreement with fp32, what variants cost. Prints a table, and each number as it comes as a
line of JSON.

    cargo build --release -p cogwheel-denoiser --example forward --example variants
    ORT_DYLIB_PATH=.../libonnxruntime.so.1.31.1 python tools/bench/gpu.py --out results.jsonl \\
        [--binaries target/release/examples] [--scratch /dev/shm] [--only small,2b] [--seconds 480] [--layers-5b 14]

(ONNX Runtime's CUDA build, torch, diffusers 0.42.1; peft for its variants.) Each part is a process of its own with a time limit,
the most valuable first, so that one that fails costs no other. `--dry` does it all on the CPU with tiny shapes.
"""

import argparse
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMESTEP = 499
# Name: what it needs at most, in seconds.
STAGES = {
    "small": 100, "2b-make": 60, "2b-ours": 90, "2b-eager": 90, "rate": 45, "2b-variants": 120, "2b-peft": 90,
    "2b-fp32": 60, "2b-agree": 30, "2b-compile": 150, "5b-make": 60, "5b-ours": 90, "5b-eager": 90, "2b-cancel": 45}
# Has ONNX Runtime say which kernel computes attention.
TOLD = {"ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1"}


def shape(arguments, model):
    """Config and latents of a model."""
    if arguments.dry:
        config = dict(num_attention_heads=2, num_layers=2, text_embed_dim=64, sample_width=12, sample_height=8, sample_frames=9,
                      max_text_seq_length=16)
        latents = (3, 16, 8, 12)
    else:
        config = dict(num_attention_heads=30, num_layers=30)
        latents = (13, 16, 60, 90)
    if model == "5b":
        config |= dict(use_rotary_positional_embeddings=True)
        if not arguments.dry:
            config |= dict(num_attention_heads=48, num_layers=arguments.layers_5b)
    if model.startswith("small"):
        config |= dict(num_layers=2)
        latents = (3, 16, 8, 12) if arguments.dry else (3, 16, 16, 24)
        config |= dict(sample_width=latents[3], sample_height=latents[2], sample_frames=9)
        config |= dict(use_rotary_positional_embeddings=model == "small-rope")
    return config, latents


def flops(arguments, model):
    """Of one forward under guidance: two sequences."""
    config, (frames, _, height, width) = shape(arguments, model)
    inner = config["num_attention_heads"] * 64
    tokens = config.get("max_text_seq_length", 226) + frames * height * width // 4
    return 2 * config["num_layers"] * (24 * tokens * inner ** 2 + 4 * tokens ** 2 * inner)


def device(arguments):
    return "cpu" if arguments.dry else "cuda"


def emit(arguments, **fields):
    line = json.dumps(fields)
    print(line, flush=True)
    with open(arguments.out, "a") as out:
        out.write(line + "\n")


def used_memory():
    """MiB of the GPU in use, by whomever."""
    try:
        found = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                               capture_output=True, text=True, timeout=10)
        return int(found.stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return 0


class Peak:
    """The most memory in use meanwhile, above what was in use before."""

    def __enter__(self):
        self.before, self.most, self.ended = used_memory(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended.wait(0.1):
            self.most = max(self.most, used_memory())

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    @property
    def mib(self):
        return max(self.most, used_memory()) - self.before


class Ours:
    """One of the examples, by its line protocol."""

    def __init__(self, arguments, example, *options, environment=()):
        provider = [] if arguments.dry else ["cuda"]
        command = [str(part) for part in (arguments.binaries / example, *options, *provider)]
        print("+", *command, file=sys.stderr, flush=True)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | dict(environment))
        self.lines = queue.Queue()
        self.kernels = set()
        threading.Thread(target=self.read, daemon=True).start()
        start = time.perf_counter()
        self.expect("ready", 80)
        self.load_seconds = time.perf_counter() - start

    def read(self):
        for line in self.process.stdout:
            # What ONNX Runtime tells goes the same way; no answer of ours has an equals sign.
            if "=" not in line:
                self.lines.put(line.strip())
            elif "SdpaKernel=" in line:
                self.kernels.add(re.sub(r".*SdpaKernel=(\w+).*", r"\1", line.strip()))
        self.lines.put(None)

    def expect(self, line, seconds):
        found = self.lines.get(timeout=seconds)
        if found != line:
            raise RuntimeError(f"expected {line}, found {found}; exit status {self.process.poll()}")

    def ask(self, command, seconds=80):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.lines.get(timeout=seconds)
        if answer is None:
            raise RuntimeError(f"ended at '{command}' with exit status {self.process.wait(5)}")
        return answer

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def make(arguments, model, dtype):
    """Weights and inputs, in diffusers' layout."""
    import torch
    from diffusers import CogVideoXTransformer3DModel
    from safetensors.torch import save_file

    config, latents = shape(arguments, model)
    folder = arguments.scratch / model
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    try:
        with torch.device(device(arguments)):
            made = CogVideoXTransformer3DModel(**config).to(getattr(torch, dtype))
    except RuntimeError as error:
        print(f"made on the CPU: {error}", file=sys.stderr)
        made = CogVideoXTransformer3DModel(**config).to(device(arguments), getattr(torch, dtype))
    with torch.no_grad():
        for parameter in made.parameters():
            # No gate, scale or bias may be zero, or a part of the network would be idle.
            spread = 0.1 if parameter.ndim == 1 else 0.02
            parameter.add_(torch.randn_like(parameter) * spread)
    made.save_pretrained(folder)
    text = (2, made.config.max_text_seq_length, made.config.text_embed_dim)
    save_file({"latents": torch.randn(latents), "text": torch.randn(text), "timestep": torch.tensor([float(TIMESTEP)])},
              folder / "inputs.safetensors")
    parameters = sum(parameter.numel() for parameter in made.parameters())
    emit(arguments, stage=f"{model}-make", parameters=parameters, dtype=dtype, config=config)


def theirs(arguments, model, dtype):
    """diffusers' model, and its forward."""
    import torch
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
    from safetensors.torch import load_file

    # Convolutions, such as that of the patches, would be TF32 by default.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    folder, place, dtype = arguments.scratch / model, device(arguments), getattr(torch, dtype)
    network = CogVideoXTransformer3DModel.from_pretrained(folder, torch_dtype=dtype).to(place).eval()
    inputs = load_file(folder / "inputs.safetensors")
    latents = inputs["latents"].expand(2, -1, -1, -1, -1).to(place, dtype)
    text, timestep = inputs["text"].to(place, dtype), torch.tensor([TIMESTEP, TIMESTEP], device=place)
    rotary = None
    if network.config.use_rotary_positional_embeddings:
        pipeline = CogVideoXPipeline.__new__(CogVideoXPipeline)
        pipeline.vae_scale_factor_spatial = 8
        pipeline.transformer = network
        frames, _, height, width = inputs["latents"].shape
        rotary = pipeline._prepare_rotary_positional_embeddings(height * 8, width * 8, frames, place)

    def forward(network=network):
        with torch.no_grad():
            prediction = network(latents, text, timestep, image_rotary_emb=rotary).sample
        if place == "cuda":
            torch.cuda.synchronize()
        return prediction

    return network, forward


def save(arguments, model, name, prediction):
    prediction.float().cpu().contiguous().numpy().tofile(arguments.scratch / f"{model}.{name}")


def difference(arguments, model, name, reference):
    import numpy

    found, expected = (numpy.fromfile(arguments.scratch / f"{model}.{part}", numpy.float32).astype(numpy.float64)
                       for part in (name, reference))
    return float(numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected))


def timed(run, runs):
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return first, seconds


def told(arguments, stage, model, first, seconds, **fields):
    step = statistics.median(seconds)
    emit(arguments, stage=stage, seconds_step=step, runs=seconds, first=first, tflops=flops(arguments, model) / step / 1e12, **fields)


def small(arguments):
    """Agreement at a small size, in every precision: what fails shows here first."""
    import torch

    for model in ("small", "small-rope"):
        make(arguments, model, "float32")
        for dtype, option in (("float32", None), ("float16", "fp16"), ("bfloat16", "bf16")):
            try:
                network, forward = theirs(arguments, model, dtype)
                save(arguments, model, f"theirs-{dtype}", forward())
                del network, forward
                their_error = difference(arguments, model, f"theirs-{dtype}", "theirs-float32")
                emit(arguments, stage=model, who="diffusers", dtype=dtype, error=their_error)
            except Exception as error:  # noqa: BLE001, whatever it is, the other side is measured
                emit(arguments, stage=model, who="diffusers", dtype=dtype, failed=str(error)[-600:])
            if arguments.dry and option == "bf16":
                continue
            try:
                folder = arguments.scratch / model
                ours = Ours(arguments, "forward", folder, folder / "inputs.safetensors", 4, *[option] * bool(option))
                ours.ask("run")
                ours.ask(f"save {arguments.scratch / model}.ours-{dtype}")
                ours.close()
                error = difference(arguments, model, f"ours-{dtype}", "theirs-float32")
                emit(arguments, stage=model, who="cogwheel", dtype=dtype, error=error)
            except Exception as error:  # noqa: BLE001
                emit(arguments, stage=model, who="cogwheel", dtype=dtype, failed=repr(error)[-600:])
    emit(arguments, stage="torch", version=torch.__version__)


def rate(arguments):
    """What the chip multiplies, and copies, at most."""
    import torch

    size, place = (64 if arguments.dry else 8192), device(arguments)
    sync = torch.cuda.synchronize if place == "cuda" else lambda: None
    for dtype in (torch.float16, torch.bfloat16):
        a, b = (torch.randn(size, size, device=place, dtype=dtype) for _ in "ab")
        for _ in range(3):
            a @ b
        sync()
        start = time.perf_counter()
        for _ in range(20):
            a @ b
        sync()
        seconds = (time.perf_counter() - start) / 20
        emit(arguments, stage="rate", dtype=str(dtype), tflops=2 * size ** 3 / seconds / 1e12)
    config, (frames, _, height, width) = shape(arguments, "2b")
    tokens = config.get("max_text_seq_length", 226) + frames * height * width // 4
    q = torch.randn(2, config["num_attention_heads"], tokens, 64, device=place, dtype=torch.float16)
    attend = torch.nn.functional.scaled_dot_product_attention
    attend(q, q, q)
    sync()
    start = time.perf_counter()
    for _ in range(5):
        attend(q, q, q)
    sync()
    seconds = (time.perf_counter() - start) / 5
    work = 2 * 4 * tokens ** 2 * config["num_attention_heads"] * 64
    emit(arguments, stage="rate", dtype="attention, torch's default", tflops=work / seconds / 1e12)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel(backend):
                attend(q, q, q)
                sync()
                start = time.perf_counter()
                for _ in range(5):
                    attend(q, q, q)
                sync()
            seconds = (time.perf_counter() - start) / 5
            emit(arguments, stage="rate", dtype=f"attention, {backend.name}", tflops=work / seconds / 1e12)
        except Exception as error:  # noqa: BLE001
            emit(arguments, stage="rate", dtype=f"attention, {backend.name}", failed=str(error)[-300:])


def ours_side(arguments, model, option, name):
    folder = arguments.scratch / model
    with Peak() as peak:
        ours = Ours(arguments, "forward", folder, folder / "inputs.safetensors", 8, option, environment=TOLD)
        loaded = peak.mib
        first, seconds = timed(lambda: ours.ask("run"), arguments.runs)
        ours.ask(f"save {arguments.scratch / model}.{name}")
    ours.close()
    told(arguments, f"{model}-{name}", model, first, seconds, peak_mib=peak.mib, weights_mib=loaded, load_seconds=ours.load_seconds,
         kernels=sorted(ours.kernels))


def eager_side(arguments, model, dtype, name, compiled=False):
    import torch

    with Peak() as peak:
        network, forward = theirs(arguments, model, dtype)
        loaded = peak.mib
        if compiled:
            optimized = torch.compile(network)
            run = lambda: forward(optimized)
        else:
            run = forward
        first, seconds = timed(run, 0 if name == "fp32" else arguments.runs)
        save(arguments, model, name, run())
        # What the process took, which PyTorch's own reserve is a part of.
        total = peak.mib
    counted = {}
    if not arguments.dry:
        counted = {"allocated_mib": torch.cuda.max_memory_allocated() >> 20}
    told(arguments, f"{model}-{name}", model, first, seconds or [first], peak_mib=total, weights_mib=loaded, **counted)


def adapter(arguments):
    """A LoRA of rank 64 for the projections of attention."""
    import torch
    from safetensors.torch import save_file

    config, _ = shape(arguments, "2b")
    width, rank = config["num_attention_heads"] * 64, 64
    generator = torch.Generator().manual_seed(1)
    draw = lambda *size: (torch.randn(size, generator=generator) * 0.01).half()
    path = arguments.scratch / "adapter.safetensors"
    tensors = {
        f"transformer.transformer_blocks.{block}.attn1.{layer}.{name}.weight": draw(*size)
        for block in range(config["num_layers"]) for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for name, size in (("lora_A", (rank, width)), ("lora_B", (width, rank)))}
    save_file(tensors, path)
    return path, tensors


def variants(arguments):
    """Memory of 1, 2 and 4 variants beside the model, and what changing between them costs."""
    path, _ = adapter(arguments)
    folder = arguments.scratch / "2b"
    before = used_memory()
    threads = 2 if arguments.dry else 8
    options = ["fp16"] * (not arguments.dry)
    ours = Ours(arguments, "variants", folder, folder / "inputs.safetensors", path, threads, *options)
    with Peak() as peak:
        first = float(ours.ask("run 0"))
        base = [float(ours.ask("run 0")) for _ in range(arguments.runs)]
    emit(arguments, stage="2b-variants", variants=0, first_step=first, seconds_step=statistics.median(base), mib=used_memory() - before,
         peak_mib=peak.mib)
    ours.ask(f"save {arguments.scratch / '2b.base'}")
    for number in (1, 2, 3, 4):
        seconds, size = ours.ask(f"make {number}").split()
        first = float(ours.ask(f"run {number}"))
        again = [float(ours.ask(f"run {number}")) for _ in range(2)]
        emit(arguments, stage="2b-variants", variants=number, merge_seconds=float(seconds), mib_changed=int(size) / 2 ** 20,
             first_step=first, seconds_step=min(again), mib=used_memory() - before)
        if number == 1:
            ours.ask(f"save {arguments.scratch / '2b.variant'}")
    # The same variant twice, and one after another; and what a request begins with, for a variant and for the model, which is mostly
    # the making of positions and their way to the GPU: the differences are what a change costs.
    same, other = [], []
    for _ in range(arguments.runs):
        ours.ask("run 1")
        same.append(float(ours.ask("run 1")))
        other.append(float(ours.ask("run 2")))
    lease, of_model = (statistics.median(float(ours.ask(f"lease {number}")) for _ in range(6)) for number in (1, 0))
    emit(arguments, stage="2b-switch", same=same, other=other, lease_ms=lease * 1e3,
         ms=(statistics.median(other) - statistics.median(same) + lease - of_model) * 1e3, mib=used_memory() - before)
    # The model again after all of them, to the bit.
    ours.ask("run 0")
    ours.ask(f"save {arguments.scratch / '2b.base-again'}")
    emit(arguments, stage="2b-variants", base_again=difference(arguments, "2b", "base-again", "base"))
    ours.close()


def peft(arguments):
    """What diffusers does instead: adapters beside the weights at every step, or fused and unfused."""
    import torch

    _, tensors = adapter(arguments)
    place = device(arguments)
    network, forward = theirs(arguments, "2b", "float16" if not arguments.dry else "float32")
    for name in ("one", "two"):
        network.load_lora_adapter({key: value.to(place) for key, value in tensors.items()}, adapter_name=name, prefix="transformer")
    network.set_adapters(["one"], [1.0])
    _, beside = timed(forward, arguments.runs)
    sync = torch.cuda.synchronize if place == "cuda" else lambda: None

    def switch(name, scale):
        network.unfuse_lora()
        network.set_adapters([name], [scale])
        network.fuse_lora(adapter_names=[name])
        sync()

    network.fuse_lora(adapter_names=["one"])
    save(arguments, "2b", "peft", forward())
    _, switches = timed(lambda: [switch("two", 1.0), switch("one", 1.0)], 2)
    _, fused = timed(forward, 2)
    told(arguments, "2b-peft", "2b", 0, beside, fused_step=min(fused), switch_ms=min(switches) / 2 * 1e3)


def cancel(arguments):
    """Whether a process that is told to end in mid-step ends, and leaves no memory behind."""
    folder = arguments.scratch / "2b"
    before = used_memory()
    ours = Ours(arguments, "forward", folder, folder / "inputs.safetensors", 8, "fp16")
    ours.ask("run")
    ours.process.stdin.write("run\n")
    ours.process.stdin.flush()
    time.sleep(0.1)
    start = time.perf_counter()
    ours.process.send_signal(signal.SIGTERM)
    ours.process.wait(20)
    seconds = time.perf_counter() - start
    time.sleep(1)
    emit(arguments, stage="2b-cancel", seconds_to_end=seconds, mib_left=used_memory() - before)


def agree(arguments):
    for name in ("ours", "eager", "compile"):
        if (arguments.scratch / f"2b.{name}").exists() and (arguments.scratch / "2b.fp32").exists():
            emit(arguments, stage="2b-agree", who=name, error=difference(arguments, "2b", name, "fp32"))
    # A variant from what PEFT merges, and by how much it is another one than the model.
    for name, reference in (("ours", "eager"), ("base", "ours"), ("variant", "peft"), ("variant", "base")):
        if all((arguments.scratch / f"2b.{part}").exists() for part in (name, reference)):
            emit(arguments, stage="2b-agree", who=f"{name} from {reference}", error=difference(arguments, "2b", name, reference))
    if all((arguments.scratch / f"5b.{part}").exists() for part in ("ours", "eager")):
        emit(arguments, stage="2b-agree", who="5b ours from eager", error=difference(arguments, "5b", "ours", "eager"))


def stage(arguments, name):
    half, brain = ("float32", "float32") if arguments.dry else ("float16", "bfloat16")
    {
        "small": lambda: small(arguments),
        "rate": lambda: rate(arguments),
        "2b-make": lambda: make(arguments, "2b", "float16"),
        "2b-ours": lambda: ours_side(arguments, "2b", "fp16", "ours"),
        "2b-eager": lambda: eager_side(arguments, "2b", half, "eager"),
        "2b-fp32": lambda: eager_side(arguments, "2b", "float32", "fp32"),
        "2b-agree": lambda: agree(arguments),
        "2b-variants": lambda: variants(arguments),
        "2b-compile": lambda: eager_side(arguments, "2b", half, "compile", compiled=True),
        "2b-peft": lambda: peft(arguments),
        "2b-cancel": lambda: cancel(arguments),
        "5b-make": lambda: make(arguments, "5b", brain),
        "5b-ours": lambda: ours_side(arguments, "5b", "fp32" if arguments.dry else "bf16", "ours"),
        "5b-eager": lambda: eager_side(arguments, "5b", brain, "eager"),
    }[name]()


def run_all(arguments, names):
    """Each in a process group of its own, ended with all that it started when its time is over."""
    end = time.monotonic() + arguments.seconds
    passed = [option for option in sys.argv[1:]]
    for name in names:
        limit = min(STAGES[name], end - time.monotonic())
        if limit < 15:
            emit(arguments, stage=name, skipped="no time left")
            continue
        start = time.monotonic()
        child = subprocess.Popen([sys.executable, __file__, *passed, "--stage", name], start_new_session=True)
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            status = "out of time"
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        emit(arguments, stage=name, status=status, took=round(time.monotonic() - start, 1))


def table(arguments):
    lines = [json.loads(line) for line in pathlib.Path(arguments.out).read_text().splitlines()]
    for line in lines:
        parts = []
        for key, value in line.items():
            if key in ("stage", "runs", "config"):
                continue
            short = f"{value:.4g}" if isinstance(value, float) else value
            parts.append(f"{key} {short}"[:240])
        print(f"{line.get('stage', ''):12} " + ", ".join(parts))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release/examples")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("/tmp/cogwheel-gpu"))
    parser.add_argument("--only", help="stages, separated by commas")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--layers-5b", type=int, default=14)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--stage")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    if arguments.stage:
        stage(arguments, arguments.stage)
        return
    emit(arguments, stage="begin", at=time.strftime("%H:%M:%S"), cpus=os.cpu_count(), mib_in_use=used_memory())
    run_all(arguments, arguments.only.split(",") if arguments.only else list(STAGES))
    table(arguments)


main()
