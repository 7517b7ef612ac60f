"""Trains AutoencoderKLCogVideoX: 8x8 in space, 4 in time, 16 latent channels.

Clips [batch, 3, frames, 64, 64] in -1..1 become latents [batch, 16, (frames - 1) / 4 + 1, 8, 8]. First single images,
then 9 frames (the most that diffusers encodes at once), then 17 (two chunks, the second with cached borders).
"""

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

import clips
import common
from optimizer import Optimizers, schedule

CONFIG = dict(
    block_out_channels=(16, 32, 32, 48), latent_channels=16, layers_per_block=1, norm_num_groups=8,
    sample_height=64, sample_width=64,
)
# (steps, frames, clips per step and worker)
PHASES = [(250, 1, 24), (1000, 9, 3), (500, 17, 2)]
MUON, ADAM = 3e-3, 3e-3
KL = 1e-4
FOREGROUND = 4.0  # extra weight of pixels that are not background
EFFECTS = [((), 0.40), (("bounce",), 0.15), (("neon",), 0.15), (("trail",), 0.15), (("bounce", "neon"), 0.09),
           (("bounce", "trail"), 0.03), (("neon", "trail"), 0.03)]


def batch(generator, count, frames):
    """Clips [count, 3, frames, 64, 64] in -1..1 of all combinations and effects, starting anywhere within the 17 frames."""
    chances = np.array([chance for _, chance in EFFECTS])
    rendered = []
    for _ in range(count):
        combination = clips.COMBINATIONS[generator.integers(len(clips.COMBINATIONS))]
        effects = EFFECTS[generator.choice(len(EFFECTS), p=chances)][0]
        first = generator.integers(clips.FRAMES - frames + 1)
        rendered.append(clips.render(clips.random_scene(generator, combination, effects), range(first, first + frames)))
    return torch.from_numpy(np.stack(rendered)).permute(0, 4, 1, 2, 3) * 2 - 1


def loss(made, wanted):
    """L1 + L2 with a heavier foreground, and L1 of the differences in space (edges) and time (motion).

    Both [batch, 3, frames, 64, 64]. Without the last term the four frames of a latent one long stay each other's mean.
    """
    error = made - wanted
    ground = wanted[..., :1, :1]
    weight = 1 + FOREGROUND * ((wanted - ground).abs().amax(dim=1, keepdim=True) > 0.05)
    pixels = (weight * (error.abs() + 2 * error.square())).mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    motion = 2 * error.diff(dim=2).abs().mean() if error.shape[2] > 1 else 0
    return pixels + edges + motion


def psnr(made, wanted):
    """In dB; both in -1..1."""
    return -10 * ((made.detach().clamp(-1, 1) - wanted).square().mean() / 4).log10()


def is_matrix(name, parameter):
    """Kernels between features for Muon; 1x1 kernels, the ends towards RGB, norms and biases for AdamW."""
    return parameter.ndim >= 4 and min(parameter.shape[:2]) > 3 and parameter[0, 0].numel() > 1


def phase_of(step, run):
    """(frames, clips) of a step."""
    for steps, frames, count in PHASES:
        if step < run.steps(steps):
            return frames, count
        step -= run.steps(steps)
    raise ValueError("the step lies behind the last phase")


def forward(vae, clip):
    """(reconstruction, KL) in bf16 autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(clip).latent_dist
        made = vae.decode(posterior.sample()).sample
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    return made.float(), 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def train(run, rank):
    """Stage `vae`: writes work/vae (the averaged weights)."""
    torch.manual_seed(run.seed)
    vae = AutoencoderKLCogVideoX(**CONFIG)
    with torch.no_grad():
        vae.encoder.conv_out.conv.bias[CONFIG["latent_channels"]:] = -4.0  # little noise at first
    optimizers = Optimizers(vae, is_matrix, MUON, ADAM)
    average, checkpoint = common.Average(vae, 0.995), common.Checkpoint(run, "vae-state")
    total = sum(run.steps(steps) for steps, _, _ in PHASES)
    start = 0
    if state := checkpoint.load():
        start = state["step"]
        vae.load_state_dict(state["vae"])
        optimizers.load(state["optimizers"])
        average.weights, average.step = state["average"], start
    progress = common.Progress("vae", total)
    for step in range(start, total):
        torch.manual_seed((run.seed * 100_000 + step) * 100 + rank)
        frames, count = phase_of(step, run)
        clip = batch(common.rng(run.seed, "vae", step, rank), count, frames)
        made, kl = forward(vae, clip)
        error = loss(made, clip)
        (error + KL * kl).backward()
        common.average_gradients(optimizers.parameters)
        norm = optimizers.step(schedule(step, total))
        average.update(vae)
        if rank == 0:
            progress.add(step, loss=error, kl=kl, psnr=psnr(made, clip), norm=norm)
            if (step + 1) % checkpoint.every == 0 or step + 1 == total:
                state = dict(step=step + 1, vae=vae.state_dict(), optimizers=optimizers.state())
                checkpoint.save(state | dict(average=average.weights))
    if rank == 0:
        vae.load_state_dict(average.weights)
        vae.save_pretrained(run.work / "vae")
