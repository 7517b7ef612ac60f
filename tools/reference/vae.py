"""Reference values for the VAE: what diffusers makes of seeded latents, and of frames.

Writes tests/data/vae.safetensors. For each tiny checkpoint NAME, number of latent frames F and size HxW (of the
latents), all fp32:
  NAME.F.HxW.latents   [F, channels, H, W], from torch.randn, as a denoiser would give them
  NAME.F.HxW.frames    a sample of the frames [4 (F - F % 2) + F % 2, 8 H, 8 W, 3] in 0..1 that
                       `CogVideoXPipeline.decode_latents` and `VideoProcessor` make of them, flattened: every
                       STRIDE-th value, so that the file stays small; STRIDE is prime, so all rows, columns and
                       channels take part
and with tiles of TILESxTILES latents (`enable_tiling` with eight times as many pixels), every TILED_STRIDE-th value:
  NAME.tiled.TILE.F.HxW.latents, NAME.tiled.TILE.F.HxW.frames
and for the encoder:
  NAME.encoded.F.HxW   the moments [latent frames, 2 channels, H / 8, W / 8] of F frames of HxW pixels, whose i-th value,
                       counted over [F, H, W, 3], is ((7919 i + 13) mod 1009) / 1008 in 0..1
  NAME.encoded.tiled.TILE.F.HxW   the same in tiles of TILE latents
  NAME.sampled.F.HxW   latents [latent frames, channels, H / 8, W / 8] drawn from these with seed 7

Deterministic. Made with diffusers 0.42.1, in fp32 on one thread.

    python tools/reference/vae.py [--output tests/data/vae.safetensors]
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.video_processor import VideoProcessor
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ["sincos", "rope"]
LATENT_FRAMES = [1, 2, 3, 4, 5, 13]
SIZES = [(2, 3), (6, 4)]
STRIDE = 31
# Tiles of latents, the published models' last, whose overlaps are whole latents; latent frames; latents.
TILED = [((6, 5), 3, (11, 9)), ((6, 5), 4, (12, 4)), ((6, 5), 5, (3, 7)), ((30, 45), 3, (32, 46))]
TILED_STRIDE = 499
ENCODED = [1, 2, 8, 9, 10, 17, 25]
ENCODED_SIZES = [(16, 24), (48, 32)]
# Tiles of latents, frames, pixels.
ENCODED_TILED = [((6, 5), 9, (88, 72)), ((6, 5), 17, (96, 32)), ((6, 5), 1, (24, 56))]


def decode(vae, latents):
    """As `CogVideoXPipeline.decode_latents`; [1, F, C, H, W] to [1, 3, frames, height, width]."""
    latents = latents.permute(0, 2, 1, 3, 4)
    return vae.decode(1 / vae.config.scaling_factor * latents).sample


def pattern(frames, height, width):
    """[1, 3, F, H, W] in -1..1."""
    values = (torch.arange(frames * height * width * 3) * 7919 + 13) % 1009
    values = (values.double() / 1008).float().reshape(1, frames, height, width, 3)
    return values.permute(0, 4, 1, 2, 3) * 2 - 1


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "tests/data/vae.safetensors")
    output = parser.parse_args().output
    torch.set_num_threads(1)

    processor = VideoProcessor(vae_scale_factor=8)
    tensors = {}
    for name in CHECKPOINTS:
        vae = AutoencoderKLCogVideoX.from_pretrained(ROOT / "tests/data/checkpoints" / name / "vae").eval()
        channels = vae.config.latent_channels
        generator = torch.Generator().manual_seed(0)
        for frames in LATENT_FRAMES:
            for height, width in SIZES:
                latents = torch.randn(1, frames, channels, height, width, generator=generator)
                video = processor.postprocess_video(decode(vae, latents), output_type="np")
                key = f"{name}.{frames}.{height}x{width}"
                tensors[f"{key}.latents"] = latents[0].contiguous()
                tensors[f"{key}.frames"] = torch.from_numpy(video).flatten()[::STRIDE].contiguous()
        for frames in ENCODED:
            for height, width in ENCODED_SIZES:
                moments = vae.encode(pattern(frames, height, width)).latent_dist.parameters
                tensors[f"{name}.encoded.{frames}.{height}x{width}"] = moments[0].transpose(0, 1).contiguous()
        sampled = vae.encode(pattern(9, 16, 24)).latent_dist.sample(torch.Generator().manual_seed(7))
        tensors[f"{name}.sampled.9.16x24"] = sampled[0].transpose(0, 1).contiguous()
        for tile, frames, size in ENCODED_TILED:
            vae.enable_tiling(*(8 * side for side in tile))
            moments = vae.encode(pattern(frames, *size)).latent_dist.parameters
            key = f"{name}.encoded.tiled.{tile[0]}x{tile[1]}.{frames}.{size[0]}x{size[1]}"
            tensors[key] = moments[0].transpose(0, 1).contiguous()
        generator = torch.Generator().manual_seed(1)
        for tile, frames, size in TILED:
            vae.enable_tiling(*(8 * side for side in tile))
            latents = torch.randn(1, frames, channels, *size, generator=generator)
            video = processor.postprocess_video(decode(vae, latents), output_type="np")
            key = f"{name}.tiled.{tile[0]}x{tile[1]}.{frames}.{size[0]}x{size[1]}"
            tensors[f"{key}.latents"] = latents[0].contiguous()
            tensors[f"{key}.frames"] = torch.from_numpy(video).flatten()[::TILED_STRIDE].contiguous()
    save_file(tensors, output)


if __name__ == "__main__":
    main()
