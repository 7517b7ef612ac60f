"""Teaches the text encoder that "from left to right" means "to the right": the order of the words, not only the words.

Only the text encoder changes. It is to make the frozen transformer predict for such a caption what it predicts for the
simpler wording, and for every other caption what it predicted before; a linear layer that names the direction from the mean
of the encoder's output helps it along and is thrown away. Attention heads that begin with a look at a neighbouring word learn
this within 200 steps; without that start they do not.
"""

import copy

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from transformers import T5EncoderModel

import captions
import clips
import common
import latents
import tokenizer as vocabulary
import transformer as base
from optimizer import Optimizers, schedule

STEPS, BATCH, ORDER = 1100, 16, 0.5
RATE, HINT = 1.5e-3, 0.03
NEIGHBOURS = {1: 0, 2: 1, 17: 2, 3: 3}  # bucket of T5's relative positions (1, 2 and 3 back, 1 ahead): head that looks there


def pairs(generator, chosen):
    """(captions of the student, captions of the teacher) for combinations by index."""
    texts = base.texts(generator, chosen, ORDER)
    return texts, [captions.simpler(text, clips.COMBINATIONS[i]) for text, i in zip(texts, chosen)]


def train(run, rank):
    """Stage `order`: work/words-text to work/order-text."""
    torch.manual_seed(run.seed)
    trained, text = base.folders(run, "words")
    teacher = T5EncoderModel.from_pretrained(text).requires_grad_(False)
    denoiser = CogVideoXTransformer3DModel.from_pretrained(trained).requires_grad_(False)
    student = torch.nn.ModuleDict(dict(encoder=copy.deepcopy(teacher).requires_grad_(True).train(), hint=torch.nn.Linear(96, 4)))
    with torch.no_grad():
        bias = student["encoder"].encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        for bucket, head in NEIGHBOURS.items():
            bias[bucket, head] += 4
    tokenizer, scheduler = vocabulary.load(run), CogVideoXDDIMScheduler(**base.SCHEDULER)
    stored, combinations = latents.load(run)
    optimizers = Optimizers(student, lambda name, parameter: False, 0.0, RATE)
    checkpoint, total, first = common.Checkpoint(run, "order-state"), run.steps(STEPS), 0
    if state := checkpoint.load():
        first = state["step"]
        student.load_state_dict(state["student"])
        optimizers.load(state["optimizers"])
    progress = common.Progress("order", total)
    directions = list(clips.DIRECTIONS)
    for step in range(first, total):
        generator = common.rng(run.seed, "order", step, rank)
        noise = torch.Generator().manual_seed((run.seed * 100_000 + step) * 100 + rank)
        chosen = torch.from_numpy(generator.integers(len(stored), size=BATCH))
        said, meant = pairs(generator, combinations[chosen].tolist())
        noisy, times, _ = base.noised(scheduler, stored[chosen].float(), noise, late=True)
        ids = vocabulary.encode(tokenizer, said)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                simple = teacher(input_ids=vocabulary.encode(tokenizer, meant)).last_hidden_state
                wanted = denoiser(noisy, simple, times, return_dict=False)[0]
            hidden = student["encoder"](input_ids=ids).last_hidden_state
            made = denoiser(noisy, hidden, times, return_dict=False)[0]
        error = (made.float() - wanted.float()).square().mean()
        filled = (ids != 0).float()[..., None]
        named = student["hint"]((hidden.float() * filled).sum(1) / filled.sum(1))
        truth = torch.tensor([directions.index(clips.COMBINATIONS[i][2]) for i in combinations[chosen].tolist()])
        spoken = torch.tensor([bool(text) for text in said])
        hint = torch.nn.functional.cross_entropy(named[spoken], truth[spoken])
        (error + HINT * hint).backward()
        common.average_gradients(optimizers.parameters)
        optimizers.step(schedule(step, total))
        if rank == 0:
            progress.add(step, error=error, hint=hint)
            if (step + 1) % checkpoint.every == 0 or step + 1 == total:
                checkpoint.save(dict(step=step + 1, student=student.state_dict(), optimizers=optimizers.state()))
    if rank == 0:
        student["encoder"].save_pretrained(run.work / "order-text")
