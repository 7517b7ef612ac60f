"""One decode of the VAE, ours beside diffusers', fp32 on the CPU, the same weights.

The decoder has the widths of the published models, with random weights from a fixed seed; 9 frames of 128x192.

    cargo build --release -p cogwheel-vae --example decode
    python tools/bench/vae.py [--latent-frames 3] [--threads 2] [--pairs 5]

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


def make(folder, arguments):
    """The VAE's folder and latents."""
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4)
    model.save_pretrained(folder)
    latents = torch.randn(arguments.latent_frames, 16, *arguments.size)
    save_file({"latents": latents}, folder / "inputs.safetensors")


def diffusers_side(folder, threads):
    """The other side of the line protocol."""
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from diffusers.video_processor import VideoProcessor
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    model = AutoencoderKLCogVideoX.from_pretrained(folder).eval()
    model.encoder = None
    latents = load_file(folder / "inputs.safetensors")["latents"]
    latents = latents.permute(1, 0, 2, 3)[None]
    processor = VideoProcessor(vae_scale_factor=8)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            pathlib.Path(line.split()[1]).write_bytes(frames.tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        with torch.no_grad():
            sample = model.decode(1 / model.config.scaling_factor * latents).sample
        frames = processor.postprocess_video(sample, output_type="np")
        print(time.perf_counter() - start, flush=True)


def line(arguments):
    """The benchmark's line for the table."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        height, width = arguments.size
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [sys.executable, __file__, "--make", folder, "--latent-frames", arguments.latent_frames,
                   "--size", height, width]
        if os.spawnv(os.P_WAIT, sys.executable, [str(part) for part in make_it]) != 0:
            raise RuntimeError("the VAE could not be made")
        decode = arguments.binary or ROOT / "target/release/examples/decode"
        inputs = folder / "inputs.safetensors"
        ours = pairs.Side("cogwheel", [decode, folder, inputs, arguments.threads], arguments.threads)
        theirs = pairs.Side("diffusers", [
            sys.executable, __file__, "--diffusers", folder, "--threads", arguments.threads],
            arguments.threads)
        odd = arguments.latent_frames % 2
        what = f"vae, {4 * arguments.latent_frames - 3 * odd} frames of {height * 8}x{width * 8}"
        result = pairs.compare(what, ours, theirs, arguments.pairs)
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            side.ask(f"save {folder / name}")
            side.close()
        result.error = pairs.relative_error(folder / "ours", folder / "theirs")
        return result


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent-frames", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(16, 24), help="height and width of the latents")
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
        diffusers_side(arguments.diffusers, arguments.threads)
    else:
        print(pairs.HEAD)
        print(pairs.show(line(arguments)))
