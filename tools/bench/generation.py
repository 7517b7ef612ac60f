"""A whole small video, ours beside diffusers', fp32 on the CPU, the same weights, seed and settings.

The transformer is as wide as CogVideoX-2b's and cut to a few layers, the VAE has its real widths, the
text encoder is small; random weights from a fixed seed. Ours is the chain of four services in one
process, from the request to the MP4; theirs is the pipeline from the prompt to frames in memory.

    cargo build --release -p cogwheel-tests --example generation
    python tools/bench/generation.py [--layers 4] [--steps 12] [--threads 2] [--pairs 3]

(diffusers 0.42.1, transformers 5.23; finds ONNX Runtime as the services do: .runtime or ORT_DYLIB_PATH.)
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

import pairs

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FRAMES = 192, 128, 9


def make(folder, arguments):
    """The checkpoint."""
    import torch
    from diffusers import (
        AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel)
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=30, attention_head_dim=64, num_layers=arguments.layers, text_embed_dim=512,
        sample_width=WIDTH // 8, sample_height=HEIGHT // 8, sample_frames=FRAMES)
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(128, 256, 256, 512), latent_channels=16, layers_per_block=3)
    text_encoder = T5EncoderModel(T5Config(
        vocab_size=512, d_model=512, d_kv=64, d_ff=1024, num_layers=4, num_heads=8,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False))
    scheduler = CogVideoXDDIMScheduler(
        snr_shift_scale=3.0, prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="trailing", clip_sample=False)
    tokenizer = T5Tokenizer.from_pretrained(ROOT / "demo/model/tokenizer")
    CogVideoXPipeline(tokenizer, text_encoder, vae, transformer, scheduler).save_pretrained(folder)
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(ROOT / "demo/model/tokenizer", folder / "tokenizer")


def diffusers_side(folder, arguments):
    """The other side of the line protocol."""
    import torch
    from diffusers import CogVideoXPipeline

    torch.set_num_threads(arguments.threads)
    pipeline = CogVideoXPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def run(steps, output_type):
        return pipeline(
            "a red circle dancing under the rain", negative_prompt="", width=WIDTH, height=HEIGHT,
            num_frames=FRAMES, num_inference_steps=steps, guidance_scale=6.0, output_type=output_type,
            generator=torch.Generator().manual_seed(42)).frames

    run(1, "np")
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            latents = run(arguments.steps, "latent")
            pathlib.Path(line.split()[1]).write_bytes(latents.contiguous().numpy().tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        run(arguments.steps, "np")
        print(time.perf_counter() - start, flush=True)


def line(arguments):
    """The benchmark's line for the table, and the share of our time outside the runtime."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [sys.executable, __file__, "--make", folder, "--layers", arguments.layers]
        if os.spawnv(os.P_WAIT, sys.executable, [str(part) for part in make_it]) != 0:
            raise RuntimeError("the checkpoint could not be made")
        ours = pairs.Side("cogwheel", [
            ROOT / "target/release/examples/generation", folder, arguments.threads,
            WIDTH, HEIGHT, FRAMES, arguments.steps], arguments.threads)
        theirs = pairs.Side("diffusers", [
            sys.executable, __file__, "--diffusers", folder, "--threads", arguments.threads,
            "--steps", arguments.steps], arguments.threads)
        what = f"video {WIDTH}x{HEIGHT}x{FRAMES}, {arguments.layers} layers, {arguments.steps} steps"
        result = pairs.compare(what, ours, theirs, arguments.pairs, warm_up=0)
        outside = float(ours.ask("outside"))
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            side.ask(f"save {folder / name}")
            side.close()
        result.error = pairs.relative_error(folder / "ours", folder / "theirs")
        return result, outside


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=3)
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
        result, outside = line(arguments)
        print(pairs.HEAD)
        print(pairs.show(result))
        print(f"of our time outside Session::run: {outside:.2%}")
