"""Makes the tiny checkpoints that the tests run: tests/data/checkpoints/NAME.

Each is a whole folder as diffusers saves a CogVideoX pipeline, a few hundred KB, with random
weights from a fixed seed. Every parameter is disturbed, norms and biases included, so that no
term of the network is a no-op.

  sincos    2B-like: sin-cos positions, DDIM, snr_shift_scale 3.0, fp32 weights
  rope      5B-like: rotary positions, snr_shift_scale 1.0, bf16 transformer in two shards
  image     5b-I2V-like: as many channels again for the image, a learned table beside rotary positions
  patches   1.5-like: patches of two latent frames, positions up to 10x12 tokens
  image15   1.5-I2V-like: the same with an image, `ofs` and invert_scale_latents
  control   Fun-Control-like: as many channels again for a control video

    python tools/reference/checkpoints.py [NAME ...]      (diffusers 0.42.1, transformers 5.23)
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
    CogVideoXFunControlPipeline,
    CogVideoXImageToVideoPipeline,
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


# The first two came first and are wider. All others have sin-cos's width, so that the same adapters fit them.
ROPE = dict(
    num_attention_heads=2, attention_head_dim=32, use_rotary_positional_embeddings=True)
PATCHES = dict(
    use_rotary_positional_embeddings=True, patch_size_t=2, patch_bias=False, sample_height=20, sample_width=24)
TRANSFORMERS = {
    "sincos": {},
    "rope": ROPE,
    "image": dict(in_channels=8, use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True),
    "patches": PATCHES,
    "image15": dict(PATCHES, in_channels=8, ofs_embed_dim=12),
    "control": dict(in_channels=8, use_rotary_positional_embeddings=True),
}
VAES = {
    "sincos": dict(block_out_channels=(8, 8, 16, 16), scaling_factor=1.15258426),
    "rope": dict(block_out_channels=(8, 16, 16, 24)),
    "image15": dict(invert_scale_latents=True),
}
PIPELINES = {
    "image": CogVideoXImageToVideoPipeline, "image15": CogVideoXImageToVideoPipeline,
    "control": CogVideoXFunControlPipeline}


def checkpoint(name):
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(**dict(dict(
        num_attention_heads=3, attention_head_dim=16,
        in_channels=4, out_channels=4, time_embed_dim=12, text_embed_dim=24, num_layers=2,
        sample_width=8, sample_height=6, sample_frames=9, patch_size=2, max_text_seq_length=16,
        spatial_interpolation_scale=1.875, temporal_interpolation_scale=1.0), **TRANSFORMERS[name]))
    if transformer.config.use_learned_positional_embeddings:
        # A buffer: what training would have left there, the text's rows included.
        table = transformer.patch_embed.pos_embedding
        table.add_(torch.randn(table.shape, generator=torch.Generator().manual_seed(4)) * 0.3)
        transformer.float()
    vae = AutoencoderKLCogVideoX(**dict(dict(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8), latent_channels=4,
        layers_per_block=1, norm_num_groups=4, sample_height=48, sample_width=64,
        scaling_factor=0.7), **VAES.get(name, {})))
    text = T5EncoderModel(T5Config(
        vocab_size=256, d_model=24, d_kv=8, d_ff=40, num_layers=3, num_heads=4,
        relative_attention_num_buckets=8, relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu", dropout_rate=0.0, is_encoder_decoder=False, use_cache=False))
    scheduler = CogVideoXDDIMScheduler(
        snr_shift_scale=3.0 if name == "sincos" else 1.0, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False)
    return (disturb(transformer, 1, 0.03), disturb(vae, 2, 0.02), disturb(text, 3, 0.2), scheduler)


def save(name):
    folder = ROOT / "tests/data/checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        train_tokenizer(scratch)
        spiece = (scratch / "spiece.model").read_bytes()
        tokenizer = T5Tokenizer.from_pretrained(scratch)
    tokenizer.model_max_length = 16
    transformer, vae, text, scheduler = checkpoint(name)
    pipeline = PIPELINES.get(name, CogVideoXPipeline)(tokenizer, text, vae, transformer, scheduler)
    pipeline.save_pretrained(folder)
    if name == "rope":
        shutil.rmtree(folder / "transformer")
        transformer.to(torch.bfloat16).save_pretrained(folder / "transformer", max_shard_size="100KB")
    # As the published checkpoints have it: the SentencePiece file alone.
    (folder / "tokenizer/tokenizer.json").unlink()
    (folder / "tokenizer/spiece.model").write_bytes(spiece)
    for readme in folder.rglob("README.md"):
        readme.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="checkpoints to make; all by default")
    torch.set_num_threads(1)
    for name in parser.parse_args().names or TRANSFORMERS:
        save(name)
