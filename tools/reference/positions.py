"""Reference values for shared/diffusion's `positions`, `geometry` and `frames`, from diffusers itself.

Writes tests/data/positions.safetensors:
  sincos.{dim}.{frames}x{height}x{width}     CogVideoXPatchEmbed's table for that token grid (scales 1.875 and 1.0),
                                             video tokens only, fp32
  rope.{case}.cos, .sin                      CogVideoXPipeline._prepare_rotary_positional_embeddings, every second
                                             column (the pairs are repeated), fp32; every STRIDE-th row of big grids
  crops                                      i64 [n, 8]: base height and width, grid height and width, and the crop
                                             region (top, left, bottom, right) of many grids
  timestep.{dim}                             Timesteps(dim, flip_sin_to_cos=True, downscale_freq_shift=0) of TIMES
  patch.{version}.latents, .tokens, .output  latents [F, C, H, W]; what the patch embedding's projection is given,
                                             read with an identity in its place; and latents which the transformer's
                                             last lines make of those tokens
  chunks                                     i64 [n, 3]: latent frames, start and end of every chunk that
                                             AutoencoderKLCogVideoX._decode decodes, and
  chunks.frames                              i64 [n]: the frames each gives
  frames.decoded, .np, .u8                   decoder output [3, F, H, W] (values beyond -1 and 1 too) and what
                                             VideoProcessor makes of it: [F, H, W, 3], fp32 and bytes

Deterministic. Made with diffusers 0.42.1 and torch 2.15.

    python tools/reference/positions.py [--output tests/data/positions.safetensors]
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline, CogVideoXTransformer3DModel
from diffusers.models.embeddings import CogVideoXPatchEmbed, Timesteps
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from diffusers.video_processor import VideoProcessor
from safetensors.torch import save_file

STRIDE = 211
TIMES = [0, 1, 19, 499, 500, 998, 999]
# name: head_dim, sample height and width, patch_size_t, height and width in pixels, latent frames, stride of rows
ROPE = {
    "small": (32, 8, 12, None, 64, 96, 3, 1),
    "tall": (32, 8, 12, None, 128, 64, 2, 1),
    "wide": (16, 8, 12, None, 48, 160, 2, 1),
    "published_5b": (64, 60, 90, None, 480, 720, 13, STRIDE),
    "square_5b": (64, 60, 90, None, 480, 480, 5, STRIDE),
    "large_5b": (64, 60, 90, None, 768, 1360, 5, STRIDE),
    "small_1.5": (32, 8, 12, 2, 64, 48, 5, 1),
    "published_1.5": (64, 96, 170, 2, 768, 1360, 22, STRIDE),
}


def rope(head_dim, sample_height, sample_width, patch_size_t, height, width, frames, stride):
    config = SimpleNamespace(
        patch_size=2,
        patch_size_t=patch_size_t,
        sample_height=sample_height,
        sample_width=sample_width,
        attention_head_dim=head_dim,
    )
    pipeline = SimpleNamespace(vae_scale_factor_spatial=8, transformer=SimpleNamespace(config=config))
    tables = CogVideoXPipeline._prepare_rotary_positional_embeddings(pipeline, height, width, frames, torch.device("cpu"))
    for table in tables:
        assert torch.equal(table[:, 0::2], table[:, 1::2])
    return [table[::stride, 0::2].contiguous() for table in tables]


def crops() -> torch.Tensor:
    rows = []
    for base_height, base_width in ((30, 45), (4, 6), (48, 85)):
        for height in (1, 2, 15, 16, 30, 31, 45, 48, 85):
            for width in (1, 3, 15, 30, 44, 45, 46, 85, 100):
                region = get_resize_crop_region_for_grid((height, width), base_width, base_height)
                rows.append([base_height, base_width, height, width, *region[0], *region[1]])
    return torch.tensor(rows)


def patches(patch_size_t, shape):
    """Tokens by an identity instead of the projections, so that only the order is seen."""
    frames, channels, height, width = shape
    p_t = patch_size_t or 1
    features = channels * p_t * 4
    latents = torch.arange(frames * channels * height * width, dtype=torch.float32).reshape(1, *shape)
    embed = CogVideoXPatchEmbed(
        patch_size_t=patch_size_t,
        in_channels=channels,
        embed_dim=features,
        text_embed_dim=4,
        bias=False,
        use_positional_embeddings=False,
        use_learned_positional_embeddings=False,
    )
    embed.proj.weight.data = torch.eye(features).reshape(embed.proj.weight.shape)
    if embed.proj.bias is not None:
        embed.proj.bias.data.zero_()
    tokens = embed(torch.zeros(1, 1, 4), latents)[0, 1:]

    model = CogVideoXTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=channels,
        num_layers=0,
        time_embed_dim=2,
        text_embed_dim=4,
        patch_size=2,
        patch_size_t=patch_size_t,
        use_rotary_positional_embeddings=True,
    )

    class Tokens(torch.nn.Module):
        def forward(self, _):
            return tokens[None]

    model.proj_out = Tokens()
    output = model(latents, torch.zeros(1, 1, 4), torch.zeros(1), return_dict=False)[0]
    return latents[0], tokens, output[0].contiguous()


def chunks():
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    ranges, frames = [], []
    decoder = vae.decoder
    for count in (1, 2, 3, 4, 5, 12, 13, 21):
        start = 0

        def forward(z, conv_cache=None):
            nonlocal start
            ranges.append([count, start, start + z.shape[2]])
            assert torch.equal(z[0, 0, :, 0, 0], torch.arange(start, start + z.shape[2], dtype=z.dtype))
            start += z.shape[2]
            out, cache = decoder_forward(z, conv_cache=conv_cache)
            frames.append(out.shape[2])
            return out, cache

        decoder_forward, decoder.forward = type(decoder).forward.__get__(decoder), forward
        z = torch.arange(count, dtype=torch.float32).reshape(1, 1, count, 1, 1).expand(1, 4, count, 1, 1)
        with torch.no_grad():
            vae.decode(z)
        assert start == count
    return torch.tensor(ranges), torch.tensor(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--output", type=Path, default=root / "tests/data/positions.safetensors")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    torch.manual_seed(0)

    tensors = {}
    for dim, (frames, height, width) in ((32, (3, 4, 6)), (64, (2, 5, 3)), (1920, (2, 2, 3))):
        embed = CogVideoXPatchEmbed(
            embed_dim=dim,
            sample_height=2 * height,
            sample_width=2 * width,
            sample_frames=4 * (frames - 1) + 1,
            max_text_seq_length=5,
            use_learned_positional_embeddings=False,
        )
        table = embed.pos_embedding[0]
        assert table[:5].abs().max() == 0
        tensors[f"sincos.{dim}.{frames}x{height}x{width}"] = table[5:].float().contiguous()
    for name, case in ROPE.items():
        tensors[f"rope.{name}.cos"], tensors[f"rope.{name}.sin"] = rope(*case)
    tensors["crops"] = crops()
    for dim in (32, 512, 1920):
        tensors[f"timestep.{dim}"] = Timesteps(dim, True, 0)(torch.tensor(TIMES))
    for name, patch_size_t, shape in (("1.0", None, (3, 4, 4, 6)), ("1.5", 2, (4, 3, 6, 4))):
        for key, tensor in zip(("latents", "tokens", "output"), patches(patch_size_t, shape)):
            tensors[f"patch.{name}.{key}"] = tensor.detach().contiguous()
    tensors["chunks"], tensors["chunks.frames"] = chunks()
    decoded = torch.randn(1, 3, 4, 5, 6)
    processor = VideoProcessor(vae_scale_factor=8)
    images = processor.postprocess_video(decoded, output_type="np")[0]
    tensors["frames.decoded"] = decoded[0]
    tensors["frames.np"] = torch.from_numpy(images).contiguous()
    tensors["frames.u8"] = torch.from_numpy((images * 255).round().astype("uint8")).contiguous()
    pil = processor.postprocess_video(decoded, output_type="pil")[0]
    assert bytes(tensors["frames.u8"].flatten().tolist()) == b"".join(image.tobytes() for image in pil)
    save_file(tensors, output)
    output.chmod(0o644)


if __name__ == "__main__":
    main()
