"""Trains CogVideoXTransformer3DModel and T5EncoderModel jointly, from nothing, on stored latents.

Latents [batch, 5, 16, 8, 8] and ids [batch, 32] give v of the same shape as the latents. There is no attention mask over the
text, as CogVideoXPipeline has none; every tenth caption is empty, for classifier-free guidance.
"""

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from transformers import T5Config, T5EncoderModel

import captions
import clips
import common
import latents
import tokenizer as vocabulary
from optimizer import Optimizers, schedule

TRANSFORMER = dict(
    num_attention_heads=5, attention_head_dim=32, num_layers=7, time_embed_dim=64, text_embed_dim=96,
    in_channels=16, out_channels=16, sample_width=8, sample_height=8, sample_frames=17, patch_size=2,
    temporal_compression_ratio=4, max_text_seq_length=32, use_rotary_positional_embeddings=False,
    spatial_interpolation_scale=1.0, temporal_interpolation_scale=1.0,
)
ENCODER = dict(
    d_model=96, d_kv=24, num_heads=4, d_ff=192, num_layers=2, vocab_size=512, feed_forward_proj="gated-gelu",
    dropout_rate=0.0, relative_attention_max_distance=64, is_encoder_decoder=False, use_cache=False, tie_word_embeddings=True,
    scale_decoder_outputs=False,
)
SCHEDULER = dict(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, prediction_type="v_prediction",
    rescale_betas_zero_snr=True, set_alpha_to_one=True, snr_shift_scale=3.0, timestep_spacing="trailing",
)
BATCH = 16  # per worker
EMPTY = 0.1
# stage: (steps, rate of Muon, rate of AdamW, share of captions in which only the order of the words tells the direction)
STAGES = {"transformer": (2500, 3e-3, 1.5e-3, 0.0), "words": (400, 1e-3, 5e-4, 0.5)}


class Model(torch.nn.Module):
    """Both networks: (noisy latents, ids, steps) to the predicted v."""

    def __init__(self):
        super().__init__()
        self.text_encoder = T5EncoderModel(T5Config(**ENCODER))
        self.transformer = CogVideoXTransformer3DModel(**TRANSFORMER)
        start(self.transformer)

    def forward(self, noisy, ids, steps):
        text = self.text_encoder(input_ids=ids).last_hidden_state
        return self.transformer(noisy, text, steps, return_dict=False)[0]


@torch.no_grad()
def start(transformer):
    """Modulations start at zero with gates of 0.3, and the output at zero."""
    for block in transformer.transformer_blocks:
        for norm in (block.norm1, block.norm2):  # shift, scale, gate and the same for the text
            norm.linear.weight.zero_()
            norm.linear.bias.zero_()
            parts = norm.linear.bias.view(6, -1)
            parts[2], parts[5] = 0.3, 0.3
    transformer.proj_out.weight.zero_()
    transformer.proj_out.bias.zero_()


def is_matrix(name, parameter):
    """Weights inside the blocks for Muon; embeddings, modulations and the ends for AdamW."""
    return parameter.ndim == 2 and "block" in name and "norm" not in name and "relative_attention_bias" not in name


def noised(scheduler, clean, generator, late=False):
    """(noisy latents, steps, v) at times spread evenly over the batch; `late` prefers much noise, which decides directions."""
    count = len(clean)
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    spread = spread.sqrt() if late else spread
    steps = (spread * scheduler.config.num_train_timesteps).long().clamp(0, 999)
    noise = torch.randn(clean.shape, generator=generator)
    return scheduler.add_noise(clean, noise, steps), steps, scheduler.get_velocity(clean, noise, steps)


def texts(generator, chosen, order=0.0):
    """A caption for each combination (by its index), every tenth empty."""
    combinations = [clips.COMBINATIONS[i] for i in chosen]
    return ["" if generator.random() < EMPTY else captions.varied(generator, c, order=order) for c in combinations]


def folders(run, stage):
    """Where a stage leaves the transformer and the text encoder."""
    return run.work / stage, run.work / f"{stage}-text"


def train(run, rank, stage):
    """Stage `transformer`, from nothing, or `words`, from there: writes work/STAGE and work/STAGE-text (averaged weights)."""
    torch.manual_seed(run.seed)
    steps, muon, adam, order = STAGES[stage]
    model = Model()
    if stage == "words":
        before, text = folders(run, "transformer")
        model.transformer = CogVideoXTransformer3DModel.from_pretrained(before).train()
        model.text_encoder = T5EncoderModel.from_pretrained(text).train()
    tokenizer, scheduler = vocabulary.load(run), CogVideoXDDIMScheduler(**SCHEDULER)
    stored, combinations = latents.load(run)
    optimizers = Optimizers(model, is_matrix, muon, adam)
    average = common.Average(model, 0.998 if stage == "transformer" else 0.99)
    checkpoint = common.Checkpoint(run, f"{stage}-state")
    total, first = run.steps(steps), 0
    if state := checkpoint.load():
        first = state["step"]
        model.load_state_dict(state["model"])
        optimizers.load(state["optimizers"])
        average.weights, average.step = state["average"], first
    progress = common.Progress(stage, total)
    for step in range(first, total):
        generator = common.rng(run.seed, stage, step, rank)
        noise = torch.Generator().manual_seed((run.seed * 100_000 + step) * 100 + rank)
        chosen = torch.from_numpy(generator.integers(len(stored), size=BATCH))
        ids = vocabulary.encode(tokenizer, texts(generator, combinations[chosen].tolist(), order))
        noisy, times, wanted = noised(scheduler, stored[chosen].float(), noise, late=stage == "words")
        with torch.autocast("cpu", torch.bfloat16):
            made = model(noisy, ids, times)
        error = (made.float() - wanted).square().mean()
        error.backward()
        common.average_gradients(optimizers.parameters)
        norm = optimizers.step(schedule(step, total))
        average.update(model)
        if rank == 0:
            progress.add(step, loss=error, norm=norm)
            if (step + 1) % checkpoint.every == 0 or step + 1 == total:
                state = dict(step=step + 1, model=model.state_dict(), optimizers=optimizers.state())
                checkpoint.save(state | dict(average=average.weights))
    if rank == 0:
        model.load_state_dict(average.weights)
        for part, folder in zip((model.transformer, model.text_encoder), folders(run, stage)):
            part.save_pretrained(folder)
