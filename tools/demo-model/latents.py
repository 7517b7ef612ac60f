"""Encodes clips once, so that the transformer and the adapters train on stored latents.

work/latents-EFFECTS-RANK.pt: `latents` float16 [clips, frames, channels, 8, 8] (the transformer's order of axes), already
times the scaling factor, and `combinations` [clips], indices of clips.COMBINATIONS.
"""

import torch
from diffusers import AutoencoderKLCogVideoX

import clips
import common

BASE, ADAPTER = 8_000, 480
CHUNK = 4


def path(run, effects, rank):
    return run.work / f"latents-{'-'.join(effects) or 'base'}-{rank}.pt"


@torch.no_grad()
def encode(vae, rendered):
    """Clips [count, 17, 64, 64, 3] in 0..1 to scaled latents [count, 5, 16, 8, 8]."""
    clip = torch.stack([torch.from_numpy(r) for r in rendered]).permute(0, 4, 1, 2, 3) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        mean = vae.encode(clip).latent_dist.mean
    return (mean.float() * vae.config.scaling_factor).transpose(1, 2).half()


def store(run, rank, effects, count):
    """This worker's share of `count` clips, combinations in turn, held-out ones left out."""
    held_out = clips.held_out(run.seed)
    seen = [i for i, combination in enumerate(clips.COMBINATIONS) if combination not in held_out]
    generator = common.rng(run.seed, "latents", *effects, rank)
    vae = AutoencoderKLCogVideoX.from_pretrained(run.work / "vae-white").eval()
    share = count // run.workers
    order = [seen[(i * run.workers + rank) % len(seen)] for i in range(share)]
    found = []
    for start in range(0, share, CHUNK):
        chunk = order[start : start + CHUNK]
        found.append(encode(vae, [clips.render(clips.random_scene(generator, clips.COMBINATIONS[i], effects)) for i in chunk]))
        if rank == 0 and start % (CHUNK * 100) == 0:
            print(f"latents {'-'.join(effects) or 'base'} {start}/{share}", flush=True)
    torch.save(dict(latents=torch.cat(found), combinations=torch.tensor(order)), path(run, effects, rank))


def train(run, rank):
    """Stage `latents`."""
    for effects in ((), ("bounce",), ("neon",), ("trail",), ("bounce", "neon")):
        count = ADAPTER if effects else BASE
        if not path(run, effects, rank).exists():
            store(run, rank, effects, run.steps(count))


def load(run, effects=()):
    """(latents, combinations) of all workers."""
    parts = [torch.load(path(run, effects, rank)) for rank in range(run.workers)]
    return torch.cat([p["latents"] for p in parts]), torch.cat([p["combinations"] for p in parts])
