"""One decode of the VAE, or one encode (--encode), ours beside diffusers', fp32 on the CPU, the same weights.

It has the widths of the published models, with random weights from a fixed seed; 9 frames of 128x192.

    cargo build --release -p cogwheel-vae --example vae
    python tools/bench/vae.py [--encode] [--latent-frames 3] [--threads 2] [--pairs 5]

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
    if arguments.encode:
        frames = 4 * arguments.latent_frames - 3 * (arguments.latent_frames % 2)
        inputs = {"frames": torch.rand(frames, *(8 * side for side in arguments.size), 3)}
    else:
        inputs = {"latents": torch.randn(arguments.latent_frames, 16, *arguments.size)}
    save_file(inputs, folder / "inputs.safetensors")


def diffusers_side(folder, threads):
    """The other side of the line protocol."""
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from diffusers.video_processor import VideoProcessor
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    model = AutoencoderKLCogVideoX.from_pretrained(folder).eval()
    inputs = load_file(folder / "inputs.safetensors")
    processor = VideoProcessor(vae_scale_factor=8)
    if "latents" in inputs:
        model.encoder = None
        latents = inputs["latents"].permute(1, 0, 2, 3)[None]

        def run():
            sample = model.decode(1 / model.config.scaling_factor * latents).sample
            return processor.postprocess_video(sample, output_type="np")
    else:
        model.decoder = None
        frames = inputs["frames"].permute(3, 0, 1, 2)[None]

        def run():
            means = model.encode(frames * 2 - 1).latent_dist.mode()
            return means[0].transpose(0, 1).contiguous().numpy()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            pathlib.Path(line.split()[1]).write_bytes(made.tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        with torch.no_grad():
            made = run()
        print(time.perf_counter() - start, flush=True)


def line(arguments):
    """The benchmark's line for the table."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        height, width = arguments.size
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [sys.executable, __file__, "--make", folder, "--latent-frames", arguments.latent_frames,
                   "--size", height, width] + ["--encode"] * arguments.encode
        if os.spawnv(os.P_WAIT, sys.executable, [str(part) for part in make_it]) != 0:
            raise RuntimeError("the VAE could not be made")
        vae = arguments.binary or ROOT / "target/release/examples/vae"
        inputs = folder / "inputs.safetensors"
        ours = pairs.Side("cogwheel", [vae, folder, inputs, arguments.threads], arguments.threads)
        theirs = pairs.Side("diffusers", [
            sys.executable, __file__, "--diffusers", folder, "--threads", arguments.threads],
            arguments.threads)
        odd = arguments.latent_frames % 2
        what = "encodes" if arguments.encode else "decodes"
        what = f"vae {what} {4 * arguments.latent_frames - 3 * odd} frames of {height * 8}x{width * 8}"
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
    parser.add_argument("--encode", action="store_true", help="frames to latents")
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
