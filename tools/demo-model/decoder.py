"""Trains the decoder alone on whole clips, with noise on the latents, so that it forgives what a denoiser gets slightly wrong.

The encoder stays as it is, so latents already stored and networks trained on them remain valid.
"""

import torch
from diffusers import AutoencoderKLCogVideoX

import clips
import common
import vae as vae_stage
from optimizer import Optimizers, schedule

STEPS, BATCH, NOISE = 200, 2, 0.2  # NOISE: the most, relative to latents of unit variance
MUON, ADAM = 1e-3, 5e-4


def train(run, rank):
    """Stage `decoder`: work/vae-white to work/vae-final."""
    torch.manual_seed(run.seed)
    vae = AutoencoderKLCogVideoX.from_pretrained(run.work / "vae-white").train()
    vae.encoder.requires_grad_(False)
    optimizers = Optimizers(vae, vae_stage.is_matrix, MUON, ADAM)
    average, checkpoint = common.Average(vae, 0.99), common.Checkpoint(run, "decoder-state")
    total, start = run.steps(STEPS), 0
    if state := checkpoint.load():
        start = state["step"]
        vae.load_state_dict(state["vae"])
        optimizers.load(state["optimizers"])
        average.weights, average.step = state["average"], start
    progress = common.Progress("decoder", total)
    for step in range(start, total):
        torch.manual_seed((run.seed * 100_000 + step) * 100 + rank)
        clip = vae_stage.batch(common.rng(run.seed, "decoder", step, rank), BATCH, clips.FRAMES)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                z = vae.encode(clip).latent_dist.mean
            noise = NOISE * torch.rand(len(clip), 1, 1, 1, 1) / vae.config.scaling_factor
            made = vae.decode(z + noise * torch.randn(z.shape)).sample.float()
        error = vae_stage.loss(made, clip)
        error.backward()
        common.average_gradients(optimizers.parameters)
        optimizers.step(schedule(step, total, decay=0.7))
        average.update(vae)
        if rank == 0:
            progress.add(step, loss=error, psnr=vae_stage.psnr(made, clip))
            if (step + 1) % checkpoint.every == 0 or step + 1 == total:
                state = dict(step=step + 1, vae=vae.state_dict(), optimizers=optimizers.state())
                checkpoint.save(state | dict(average=average.weights))
    if rank == 0:
        vae.load_state_dict(average.weights)
        vae.save_pretrained(run.work / "vae-final")
