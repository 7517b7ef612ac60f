"""Makes the two tiny checkpoints that the tests run: tests/data/checkpoints/{sincos,rope}.

Each is a whole folder as diffusers saves a CogVideoX pipeline, a few hundred KB, with random
weights from a fixed seed. Every parameter is disturbed, norms and biases included, so that no
term of the network is a no-op.

  sincos  2B-like: sin-cos positions, DDIM, snr_shift_scale 3.0, fp32 weights
  rope    5B-like: rotary positions, snr_shift_scale 1.0, bf16 transformer in two shards

    python tools/reference/checkpoints.py            (diffusers 0.42.1, transformers 5.23)
"""

import argparse
import pathlib
import shutil
import tempfile

import sentencepiece
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLOURS = "red green blue yellow purple orange black white".split()
SHAPES = "circle square triangle star cube fox river mountain".split()
VERBS = "moving dancing flying turning growing walking".split()
PLACES = "left right up down on a dark background under the rain at dawn".split()


def disturb(module, seed, spread):
    """Adds seeded noise to every parameter; a 1-D weight (a norm's scale) stays near what it was."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * (0.1 if parameter.ndim == 1 else spread))
    return module.eval()


def train_tokenizer(folder):
    """A SentencePiece unigram model with T5's control pieces, over sentences of a small grammar."""
    sentences = [
        f"a {colour} {shape} {verb} {place}, {shape}s and {place} {verb}!"
        for colour in COLOURS for shape in SHAPES for verb in VERBS for place in PLACES
    ]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(folder / "spiece"), vocab_size=128,
        model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1,
        normalization_rule_name="identity", hard_vocab_limit=False)
    (folder / "spiece.vocab").unlink()


def checkpoint(rope):
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2 if rope else 3, attention_head_dim=32 if rope else 16,
        in_channels=4, out_channels=4, time_embed_dim=12, text_embed_dim=24, num_layers=2,
        sample_width=8, sample_height=6, sample_frames=9, patch_size=2, max_text_seq_length=16,
        use_rotary_positional_embeddings=rope,
        spatial_interpolation_scale=1.875, temporal_interpolation_scale=1.0)
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 16, 16, 24) if rope else (8, 8, 16, 16), latent_channels=4,
        layers_per_block=1, norm_num_groups=4, sample_height=48, sample_width=64,
        scaling_factor=0.7 if rope else 1.15258426)
    text = T5EncoderModel(T5Config(
        vocab_size=256, d_model=24, d_kv=8, d_ff=40, num_layers=3, num_heads=4,
        relative_attention_num_buckets=8, relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu", dropout_rate=0.0, is_encoder_decoder=False, use_cache=False))
    scheduler = CogVideoXDDIMScheduler(
        snr_shift_scale=1.0 if rope else 3.0, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False)
    return (disturb(transformer, 1, 0.03), disturb(vae, 2, 0.02), disturb(text, 3, 0.2), scheduler)


def save(name, rope):
    folder = ROOT / "tests/data/checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        train_tokenizer(scratch)
        spiece = (scratch / "spiece.model").read_bytes()
        tokenizer = T5Tokenizer.from_pretrained(scratch)
    tokenizer.model_max_length = 16
    transformer, vae, text, scheduler = checkpoint(rope)
    pipeline = CogVideoXPipeline(tokenizer, text, vae, transformer, scheduler)
    pipeline.save_pretrained(folder)
    if rope:
        shutil.rmtree(folder / "transformer")
        transformer.to(torch.bfloat16).save_pretrained(folder / "transformer", max_shard_size="100KB")
    # As the published checkpoints have it: the SentencePiece file alone.
    (folder / "tokenizer/tokenizer.json").unlink()
    (folder / "tokenizer/spiece.model").write_bytes(spiece)
    for readme in folder.rglob("README.md"):
        readme.unlink()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    save("sincos", rope=False)
    save("rope", rope=True)
