"""One forward of the transformer, ours beside diffusers', fp32 on the CPU, the same weights; or ours with linear layers in
bytes beside diffusers' in bf16 (--int8), the error then being against diffusers' fp32.

The transformer is CogVideoX-2b's, cut to a few layers, with random weights from a fixed seed:
30 heads x 64, batch 2, 226 tokens of text and 1,920 of video.

    cargo build --release -p cogwheel-denoiser --example forward
    python tools/bench/transformer.py [--layers 4] [--threads 2] [--pairs 7] [--int8]

(diffusers 0.42.1; finds ONNX Runtime as the services do: .runtime or ORT_DYLIB_PATH.)
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import pairs

ROOT = pathlib.Path(__file__).resolve().parents[2]
LATENTS = (4, 16, 40, 48)
TIMESTEP = 499


def make(folder, arguments):
    """The slice's folder and inputs."""
    import torch
    from diffusers import CogVideoXTransformer3DModel
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = CogVideoXTransformer3DModel(
        num_layers=arguments.layers, num_attention_heads=arguments.heads,
        use_rotary_positional_embeddings=arguments.rope)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # No gate, scale or bias may be zero, or a part of the network would be idle.
            spread = 0.1 if parameter.ndim == 1 else 0.02
            parameter.add_(torch.randn(parameter.shape) * spread)
    model.save_pretrained(folder)
    save_file({
        "latents": torch.randn(LATENTS), "text": torch.randn(2, 226, 4096),
        "timestep": torch.tensor([float(TIMESTEP)])}, folder / "inputs.safetensors")


def diffusers_side(folder, threads, dtype):
    """The other side of the line protocol."""
    import torch
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    dtype = getattr(torch, dtype)
    model = CogVideoXTransformer3DModel.from_pretrained(folder, torch_dtype=dtype).eval()
    inputs = load_file(folder / "inputs.safetensors")
    latents = inputs["latents"].expand(2, -1, -1, -1, -1).to(dtype)
    text = inputs["text"].to(dtype)
    timestep = torch.tensor([TIMESTEP, TIMESTEP])
    rotary = None
    if model.config.use_rotary_positional_embeddings:
        pipeline = CogVideoXPipeline.__new__(CogVideoXPipeline)
        pipeline.vae_scale_factor_spatial = 8
        pipeline.transformer = model
        frames, _, height, width = LATENTS
        rotary = pipeline._prepare_rotary_positional_embeddings(
            height * 8, width * 8, frames, "cpu")
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            pathlib.Path(line.split()[1]).write_bytes(prediction.float().contiguous().numpy().tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        with torch.no_grad():
            prediction = model(
                latents, text, timestep, image_rotary_emb=rotary).sample
        print(time.perf_counter() - start, flush=True)


def relative_error(folder):
    import numpy

    ours, theirs = (numpy.fromfile(folder / name, numpy.float32).astype(numpy.float64)
                    for name in ("ours", "theirs"))
    return numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs)


def line(arguments):
    """The benchmark's line for the table."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [sys.executable, __file__, "--make", folder, "--layers", arguments.layers,
                   "--heads", arguments.heads] + ["--rope"] * arguments.rope
        if os.spawnv(os.P_WAIT, sys.executable, [str(part) for part in make_it]) != 0:
            raise RuntimeError("the slice could not be made")
        forward = arguments.binary or ROOT / "target/release/examples/forward"
        ours = pairs.Side("cogwheel", [
            forward, folder, folder / "inputs.safetensors", arguments.threads,
            *arguments.forward_options, *["int8"] * arguments.int8], arguments.threads)
        diffusers = lambda dtype: pairs.Side("diffusers", [
            sys.executable, __file__, "--diffusers", folder, "--threads", arguments.threads, "--dtype", dtype],
            arguments.threads)
        theirs = diffusers("bfloat16" if arguments.int8 else "float32")
        what = f"transformer, {arguments.heads} heads, {arguments.layers} layers, 2 x 2,146 tokens"
        what = f"int8 / bf16 {what}" if arguments.int8 else what
        result = pairs.compare(what, ours, theirs, arguments.pairs)
        if arguments.int8:
            theirs.close()
            theirs = diffusers("float32")
            theirs.run()
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            side.ask(f"save {folder / name}")
            side.close()
        result.error = relative_error(folder)
        return result


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=30)
    parser.add_argument("--int8", action="store_true", help="ours in int8, theirs in bf16")
    parser.add_argument("--rope", action="store_true", help="rotary positions, as 5b has them")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--binary", help="the built example, if elsewhere")
    parser.add_argument("--forward-options", nargs="*", default=[])
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--diffusers", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if arguments.make:
        make(arguments.make, arguments)
    elif arguments.diffusers:
        diffusers_side(arguments.diffusers, arguments.threads, arguments.dtype)
    else:
        print(pairs.HEAD)
        print(pairs.show(line(arguments)))
