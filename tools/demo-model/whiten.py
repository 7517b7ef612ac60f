"""Whitens the VAE's latents by a change of basis folded into its weights.

The colour of the background alone holds most of the variance of raw latents, so a denoiser learns little else. A linear
map A (z - m) of the channels with a near-identity covariance of its result is folded into the encoder's last convolution;
its inverse goes into everything of the decoder that reads latents (`conv_in` and each spatial norm's `conv_y`, `conv_b`).
Only the zero padding of `conv_in` is not the same afterwards, which stage `decoder` mends.
"""

import torch
from diffusers import AutoencoderKLCogVideoX

import clips
import common

RIDGE = 0.02  # of the mean variance, so that channels of hardly any content are not blown up
CLIPS = 384


@torch.no_grad()
def latents(vae, generator, count):
    """Latent means [count, 16, 5, 8, 8] of clips without effects."""
    found = []
    for _ in range(0, count, 4):
        chosen = [clips.COMBINATIONS[generator.integers(216)] for _ in range(4)]
        clip = torch.stack([torch.from_numpy(clips.render(clips.random_scene(generator, c))) for c in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            found.append(vae.encode(clip.permute(0, 4, 1, 2, 3) * 2 - 1).latent_dist.mean.float())
    return torch.cat(found)


def statistics(z):
    """(A, its inverse, m): symmetric A [16, 16] that whitens, and the mean m [16]."""
    flat = z.transpose(0, 1).flatten(1).double()
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    print("variances of the principal axes:", " ".join(f"{v:.3f}" for v in values.tolist()))
    values = values + RIDGE * values.mean()
    map_, inverse = (vectors * values**-0.5) @ vectors.T, (vectors * values**0.5) @ vectors.T
    return map_.float(), inverse.float(), mean.float()


@torch.no_grad()
def fold(vae, map_, inverse, mean):
    """Makes vae encode to A (z - m) and decode from it."""
    channels = len(mean)
    last = vae.encoder.conv_out.conv
    last.weight[:channels] = torch.einsum("oi,i...->o...", map_, last.weight[:channels])
    last.bias[:channels] = map_ @ (last.bias[:channels] - mean)
    last.weight[channels:] = 0  # the posterior's variance is of no use any more: a small constant
    last.bias[channels:] = -8.0
    readers = [vae.decoder.conv_in.conv]
    for module in vae.decoder.modules():
        if hasattr(module, "conv_y"):
            readers += [module.conv_y.conv, module.conv_b.conv]
    for reader in readers:
        reader.bias += torch.einsum("oithw,i->o", reader.weight, mean)
        reader.weight.copy_(torch.einsum("oithw,ij->ojthw", reader.weight, inverse))


def train(run):
    """Stage `whiten`: work/vae to work/vae-white, whose `scaling_factor` gives latents of unit variance."""
    torch.set_num_threads(1)
    vae = AutoencoderKLCogVideoX.from_pretrained(run.work / "vae")
    fold(vae, *statistics(latents(vae, common.rng(run.seed, "statistics"), CLIPS)))
    z = latents(vae, common.rng(run.seed, "scale"), CLIPS // 4)
    scaling = float(1 / z.std())
    vae.register_to_config(scaling_factor=scaling)
    vae.save_pretrained(run.work / "vae-white")
    print("scaling factor", scaling, "channels", " ".join(f"{v:.2f}" for v in (z.std((0, 2, 3, 4)) * scaling).tolist()))
