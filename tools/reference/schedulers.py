"""Reference values for shared/diffusion's `scheduler` and `guidance`, from diffusers itself.

Writes tests/data/schedulers.safetensors. A case is {scheduler}.{config}.{steps}; it has
  {case}.timesteps    i64, as set_timesteps leaves them
  {case}.samples      fp32 [kept, SIZE]: the sample after every step (after every 100th and the last of 1000)
  {case}.draws        i64, how often noise was drawn in all
The model's output at step i and the d-th noise are wave(2 * i + 1) and wave(2 * d + 2), the first sample is wave(0):
numbers made of integers alone, so that another language can make them to the bit.
  trailing.checksums  i64 [1000]: for n = 1 .. 1000 steps the sum over j of (j + 1) * (timestep j + 1), trailing spacing,
                      stray last timesteps of -1 (62 values of n) left out
  guidance.{n}        float64 [len(timesteps)]: the dynamic guidance of the pipelines at scale 6, trailing spacing

Deterministic. Made with diffusers 0.42.1 and torch 2.15.

    python tools/reference/schedulers.py [--output tests/data/schedulers.safetensors]
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler
from diffusers.schedulers import scheduling_dpm_cogvideox
from safetensors.torch import save_file

SIZE = 12
PUBLISHED = dict(
    prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
)
CONFIGS = {
    "snr3": dict(PUBLISHED, snr_shift_scale=3.0),
    "snr1": dict(PUBLISHED, snr_shift_scale=1.0),
    "defaults": dict(),
    "lora_test": dict(timestep_spacing="trailing"),
    "linspace": dict(PUBLISHED, timestep_spacing="linspace", set_alpha_to_one=False),
    "offset": dict(prediction_type="v_prediction", steps_offset=1, set_alpha_to_one=False),
    "sample": dict(prediction_type="sample", timestep_spacing="trailing", snr_shift_scale=2.0),
    "linear": dict(PUBLISHED, beta_schedule="linear", beta_start=0.0001, beta_end=0.02),
    "short": dict(PUBLISHED, num_train_timesteps=500),
}
PUBLISHED_STEPS = [1, 2, 4, 6, 7, 10, 30, 50, 1000]
OTHER_STEPS = [1, 4, 7, 30]


def wave(index: int) -> torch.Tensor:
    """SIZE numbers in [-2, 2), each a multiple of 2^-10: exact in fp32."""
    return torch.tensor(
        [((index * 7919 + j * 104729 + index * j * 131) % 4096 - 2048) / 1024 for j in range(SIZE)],
        dtype=torch.float32,
    )


def trajectory(name: str, scheduler, steps: int) -> dict[str, torch.Tensor]:
    draws = 0

    def randn_tensor(shape, generator=None, device=None, dtype=None):
        nonlocal draws
        draws += 1
        return wave(2 * (draws - 1) + 2)

    scheduling_dpm_cogvideox.randn_tensor = randn_tensor
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps
    sample, old, kept = wave(0), None, []
    for i, t in enumerate(timesteps):
        output = wave(2 * i + 1)
        if name == "ddim":
            sample = scheduler.step(output, t, sample, return_dict=False)[0]
        else:
            back = timesteps[i - 1] if i > 0 else None
            sample, old = scheduler.step(output, old, t, back, sample, return_dict=False)
        if steps < 1000 or (i + 1) % 100 == 0:
            kept.append(sample)
    assert sample.dtype == torch.float32
    return {"timesteps": timesteps, "samples": torch.stack(kept), "draws": torch.tensor([draws])}


def trailing_checksum(steps: int) -> int:
    scheduler = CogVideoXDDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    kept = [t for t in scheduler.timesteps.tolist() if t >= 0]
    assert len(kept) == steps
    return sum((j + 1) * (t + 1) for j, t in enumerate(kept))


def dynamic_guidance(steps: int, scale: float) -> torch.Tensor:
    scheduler = CogVideoXDPMScheduler(**CONFIGS["snr1"])
    scheduler.set_timesteps(steps)
    values = [
        1 + scale * ((1 - math.cos(math.pi * ((steps - t) / steps) ** 5.0)) / 2) for t in scheduler.timesteps.tolist()
    ]
    return torch.tensor(values, dtype=torch.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--output", type=Path, default=root / "tests/data/schedulers.safetensors")
    output = parser.parse_args().output
    torch.set_num_threads(1)

    tensors = {}
    for config, values in CONFIGS.items():
        for name, kind in (("ddim", CogVideoXDDIMScheduler), ("dpm", CogVideoXDPMScheduler)):
            scheduler = kind(**values)
            for steps in PUBLISHED_STEPS if config in ("snr3", "snr1") else OTHER_STEPS:
                for key, tensor in trajectory(name, scheduler, steps).items():
                    tensors[f"{name}.{config}.{steps}.{key}"] = tensor.contiguous()
    tensors["trailing.checksums"] = torch.tensor([trailing_checksum(n) for n in range(1, 1001)])
    for steps in (4, 7, 50):
        tensors[f"guidance.{steps}"] = dynamic_guidance(steps, 6.0)
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    save_file(tensors, output)
    output.chmod(0o644)


if __name__ == "__main__":
    main()
