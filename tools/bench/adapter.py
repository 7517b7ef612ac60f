"""A variant of a 2B-sized model, ours beside diffusers' load and fuse, on the CPU.

The transformer is CogVideoX-2b's (30 layers, width 1,920) with random weights, the adapter has rank
128 for to_q, to_k, to_v and to_out.0 of every layer: 118 MB in halves. Ours reads, checks and merges
it into the changed tensors; diffusers' `load_lora_weights` and `fuse_lora` do it in place, and what
takes it off again is not timed. Both merge to the dtype named: float16 is what 2B is published and
diffusers runs it in, float32 what a server computes in on the CPU (from the same fp16 files), bfloat16
what the 5B models are published in. PEFT rounds its matrices, the product and the sum to it, where
ours computes in fp32 and rounds once: the error is PEFT's.

    cargo build --release -p cogwheel-lora --example adapter
    python tools/bench/adapter.py [--layers 30] [--rank 128] [--dtype float16] [--threads 2] [--pairs 5]

(diffusers 0.42.1, peft 0.21.2.)
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

import pairs

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADAPTER = "pytorch_lora_weights.safetensors"
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# What the files of a model are in that runs in a dtype.
STORED = {"float32": "float16", "float16": "float16", "bfloat16": "bfloat16"}


def make(folder, arguments):
    """The model's folder and the adapter's file."""
    import torch
    from diffusers import CogVideoXTransformer3DModel
    from safetensors.torch import save_file

    stored = getattr(torch, STORED[arguments.dtype])
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = CogVideoXTransformer3DModel(num_layers=arguments.layers)
    model = model.to(stored).to_empty(device="cpu")
    # One block of numbers, cut to size: drawing all of them would take longer than the benchmark.
    numbers = (torch.randn(1 << 24, generator=generator) * 0.02).to(stored)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.view(-1).copy_(numbers.repeat(-(-tensor.numel() // numbers.numel()))[:tensor.numel()])
    model.save_pretrained(folder)
    width = model.config.num_attention_heads * model.config.attention_head_dim
    draw = lambda *shape: (torch.randn(shape, generator=generator) * 0.01).to(stored)
    save_file({
        f"transformer.transformer_blocks.{block}.attn1.{layer}.{name}.weight": draw(*shape)
        for block in range(arguments.layers) for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for name, shape in (("lora_A", (arguments.rank, width)), ("lora_B", (width, arguments.rank)))
    }, folder / ADAPTER)


def diffusers_side(folder, arguments):
    """The other side of the line protocol."""
    import torch
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel

    torch.set_num_threads(arguments.threads)
    transformer = CogVideoXTransformer3DModel.from_pretrained(
        folder, torch_dtype=getattr(torch, arguments.dtype))
    pipeline = CogVideoXPipeline(
        tokenizer=None, text_encoder=None, vae=None, transformer=transformer, scheduler=None)
    layer = transformer.transformer_blocks[0].attn1.to_k
    pristine = layer.weight.detach().clone()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            pathlib.Path(line.split()[1]).write_bytes(fused.view(torch.uint8).numpy().tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        pipeline.load_lora_weights(folder, weight_name=ADAPTER)
        pipeline.fuse_lora(components=["transformer"])
        print(time.perf_counter() - start, flush=True)
        pipeline.unload_lora_weights()
        layer = transformer.transformer_blocks[0].attn1.to_k
        fused = layer.weight.detach().clone()
        # The first layer is compared; the others may drift, which takes no time.
        layer.weight.data.copy_(pristine)


def relative_error(folder, dtype):
    """Of the first changed tensor."""
    import torch

    ours, theirs = (torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=getattr(torch, dtype)).double()
                    for name in ("ours", "theirs"))
    return ((ours - theirs).norm() / theirs.norm()).item()


def line(arguments):
    """The benchmark's line for the table, and the seconds of reading and describing alone."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        options = ["--layers", arguments.layers, "--rank", arguments.rank, "--dtype", arguments.dtype,
                   "--threads", arguments.threads]
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [str(part) for part in (sys.executable, __file__, "--make", folder, *options)]
        if os.spawnv(os.P_WAIT, sys.executable, make_it) != 0:
            raise RuntimeError("the model could not be made")
        binary = arguments.binary or ROOT / "target/release/examples/adapter"
        ours = pairs.Side("cogwheel", [
            binary, folder, folder / ADAPTER, arguments.threads, DTYPES[arguments.dtype]], arguments.threads)
        theirs = pairs.Side("diffusers", [
            sys.executable, __file__, "--diffusers", folder, *options], arguments.threads)
        what = f"adapter of rank {arguments.rank}, {arguments.layers} layers, {arguments.dtype}"
        result = pairs.compare(what, ours, theirs, arguments.pairs)
        reading = statistics.median(float(ours.ask("read")) for _ in range(arguments.pairs))
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            side.ask(f"save {folder / name}")
            side.close()
        result.error = relative_error(folder, arguments.dtype)
        return result, reading


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="what both merge to")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--binary", help="the built example, if elsewhere")
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--diffusers", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if arguments.make:
        make(arguments.make, arguments)
    elif arguments.diffusers:
        diffusers_side(arguments.diffusers, arguments)
    else:
        print(pairs.HEAD)
        result, reading = line(arguments)
        print(pairs.show(result))
        print(f"reading and describing the adapter alone: {reading:.3f}s")
