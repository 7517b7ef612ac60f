"""What variants cost beside the model they are of: a step, a change, memory. fp32 on the CPU.

The transformer is transformer.py's (2B width, 4 layers), the adapter of rank 128 for to_q, to_k,
to_v and to_out.0 of every layer. Steps of the model and of a variant alternate, ten pairs. Memory
is resident after so many variants were made and run, over that of the model after a run.

    cargo build --release -p cogwheel-denoiser --example variants
    python tools/bench/variants.py [--layers 4] [--threads 2] [--pairs 10]

(diffusers 0.42.1 makes the model; finds ONNX Runtime as the services do.)
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile

import pairs
import transformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADAPTER = "pytorch_lora_weights.safetensors"
COUNTS = (1, 2, 4, 8)


def make(folder, arguments):
    """The model's folder and inputs, and the adapter."""
    import torch
    from safetensors.torch import save_file

    transformer.make(folder, arguments)
    generator = torch.Generator().manual_seed(1)
    width = arguments.heads * 64
    draw = lambda *shape: torch.randn(shape, generator=generator) * 0.01
    save_file({
        f"transformer.transformer_blocks.{block}.attn1.{layer}.{name}.weight": draw(*shape)
        for block in range(arguments.layers) for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for name, shape in (("lora_A", (arguments.rank, width)), ("lora_B", (width, arguments.rank)))
    }, folder / ADAPTER)


def report(arguments):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: what it leaves in memory is not measured.
        options = ["--layers", arguments.layers, "--heads", arguments.heads, "--rank", arguments.rank]
        make_it = [str(part) for part in (sys.executable, __file__, "--make", folder, *options)]
        if os.spawnv(os.P_WAIT, sys.executable, make_it) != 0:
            raise RuntimeError("the model could not be made")
        side = pairs.Side("cogwheel", [
            arguments.binary or ROOT / "target/release/examples/variants", folder,
            folder / "inputs.safetensors", folder / ADAPTER, arguments.threads], arguments.threads)
        side.ask("run 0")
        before = int(side.ask("memory"))
        made = 0
        memory = []
        for count in COUNTS:
            while made < count:
                made += 1
                seconds, size = side.ask(f"make {made}").split()
                side.ask(f"run {made}")
            grown = int(side.ask("memory")) - before
            memory.append(f"{count}: {grown / (count * int(size)):.2f}")
        base, variant = [], []
        for pair in range(arguments.pairs):
            base.append(float(side.ask("run 0")))
            variant.append(float(side.ask(f"run {pair % made + 1}")))
        ratio = statistics.median(variant) / statistics.median(base)
        print(f"a step with a variant, against one of the model: {ratio:.3f}x "
              f"({statistics.median(base):.2f} s, {arguments.pairs} pairs)")
        lease = max(float(side.ask(f"lease {number + 1}")) for number in range(made))
        print(f"from one variant to another until its step begins: {lease * 1e3:.2f} ms at most")
        print(f"merging one: {float(seconds):.2f} s, {int(size) / 2**20:.0f} MiB")
        print(f"memory of N variants, in sizes of what they change: {', '.join(memory)}")
        side.close()


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=30)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--rope", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--binary", help="the built example, if elsewhere")
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if arguments.make:
        make(arguments.make, arguments)
    else:
        report(arguments)
