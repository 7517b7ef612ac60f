"""Makes tests/data/transformer.safetensors: single forwards of the tiny checkpoints' transformers.

For each checkpoint of tests/data/checkpoints (weights loaded as fp32) three cases: the latents'
size that the config names, another size and number of frames, and one of many more tokens. A case
holds one sample, two prompts' embeddings, a timestep, and what `CogVideoXTransformer3DModel`
predicts for the sample under either prompt, in fp32 on the CPU:

  CASE.latents [frames, channels, height, width]   CASE.text [2, tokens, channels]
  CASE.timestep [1]                                CASE.prediction [2, frames, channels, height, width]

A picture's or control video's latents are further channels of the sample. What the file holds of other checkpoints than
those named stays there.

    python tools/reference/transformer.py [NAME ...]            (diffusers 0.42.1, one thread)
"""

import argparse
import pathlib

import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "tests/data/checkpoints"
# Frames, height and width of the latents, and the timestep.
SIZES = {"configured": (3, 6, 8, 999), "other": (5, 10, 4, 421), "large": (7, 16, 16, 37)}
# A learned table has one height and width; patches of two frames want an even number.
LEARNED = {"configured": (3, 6, 8, 999), "longer": (5, 6, 8, 421)}
PATCHES = {"configured": (4, 20, 24, 999), "other": (6, 10, 4, 421)}
CASES = {"sincos": SIZES, "rope": SIZES, "image": LEARNED, "patches": PATCHES, "image15": PATCHES}


def rotary(transformer, frames, height, width):
    """The pipeline's own table; it needs nothing else of the pipeline."""
    if not transformer.config.use_rotary_positional_embeddings:
        return None
    pipeline = CogVideoXPipeline.__new__(CogVideoXPipeline)
    pipeline.vae_scale_factor_spatial = 8
    pipeline.transformer = transformer
    return pipeline._prepare_rotary_positional_embeddings(height * 8, width * 8, frames, "cpu")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help="checkpoints; all by default")
    names = parser.parse_args().names
    output = ROOT / "tests/data/transformer.safetensors"
    tensors = {key: value for key, value in load_file(output).items() if key.split(".")[0] not in names}
    for name in names:
        folder = CHECKPOINTS / name / "transformer"
        transformer = CogVideoXTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32)
        transformer.eval()
        config = transformer.config
        for size, (frames, height, width, timestep) in CASES[name].items():
            generator = torch.Generator().manual_seed(len(tensors))
            draw = lambda *shape: torch.randn(shape, generator=generator)
            latents = draw(frames, config.in_channels, height, width)
            text = draw(2, config.max_text_seq_length, config.text_embed_dim)
            with torch.no_grad():
                prediction = transformer(
                    latents.expand(2, -1, -1, -1, -1), text, torch.tensor([timestep, timestep]),
                    ofs=None if config.ofs_embed_dim is None else torch.full((1,), 2.0),
                    image_rotary_emb=rotary(transformer, frames, height, width)).sample
            case = f"{name}.{size}"
            tensors |= {
                f"{case}.latents": latents, f"{case}.text": text,
                f"{case}.timestep": torch.tensor([float(timestep)]),
                f"{case}.prediction": prediction.contiguous()}
    save_file(tensors, output)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
