"""Reference values for the text encoder: what transformers' T5EncoderModel makes of prompts.

Writes tests/data/text_encoder.safetensors:
  NAME.embeddings   [prompts, 16, 24] fp32, for each tiny checkpoint NAME: the embeddings of PROMPTS as
                    `CogVideoXPipeline._get_t5_prompt_embeds` makes them (padded and cut to 16 tokens, no mask)
  demo.embeddings   the same of the demo checkpoint (32 tokens), the first two channels in eight, to stay small
  buckets.B.D       [1201] i64: the buckets of relative positions -600..600 for B buckets up to distance D

Deterministic. Made with transformers 5.23, in fp32 on one thread.

    python tools/reference/text_encoder.py [--output tests/data/text_encoder.safetensors]
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5EncoderModel, T5Tokenizer
from transformers.models.t5.modeling_t5 import T5Attention

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = {"sincos": "tests/data/checkpoints/sincos", "rope": "tests/data/checkpoints/rope", "demo": "demo/model"}
# Empty, short, at and beyond the limit, and beside the tokenizer's vocabulary.
PROMPTS = [
    "",
    "a red circle moving left on a dark background",
    "a blue fox walking, foxs and rain walking! a green river dancing under the rain at dawn, and so on and on",
    "日本 ☃ xyz",
]
BUCKETS = [(32, 128), (8, 12), (16, 20), (64, 500), (12, 37)]
REACH = 600


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "tests/data/text_encoder.safetensors")
    output = parser.parse_args().output
    torch.set_num_threads(1)

    tensors = {}
    for name, folder in CHECKPOINTS.items():
        folder = ROOT / folder
        tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer")
        model = T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
        limit = 32 if name == "demo" else 16
        ids = tokenizer(
            PROMPTS, padding="max_length", max_length=limit, truncation=True, add_special_tokens=True,
            return_tensors="pt").input_ids
        embeddings = model(ids)[0]
        if name == "demo":
            embeddings = embeddings[..., [c for c in range(embeddings.shape[-1]) if c % 8 < 2]]
        tensors[f"{name}.embeddings"] = embeddings.contiguous()
    distances = torch.arange(-REACH, REACH + 1)
    for buckets, farthest in BUCKETS:
        tensors[f"buckets.{buckets}.{farthest}"] = T5Attention._relative_position_bucket(
            distances, bidirectional=True, num_buckets=buckets, max_distance=farthest).to(torch.int64)
    save_file(tensors, output)


if __name__ == "__main__":
    main()
