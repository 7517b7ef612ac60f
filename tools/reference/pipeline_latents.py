"""Makes tests/data/sampling.{safetensors,json}: whole sampling loops of the tiny checkpoints.

Each case runs diffusers' `CogVideoXPipeline` (weights as fp32, CPU) from given prompt embeddings
to `output_type="latent"`; noise comes from `torch.Generator("cpu").manual_seed(seed)` alone, so
the test draws it by itself. The JSON lists the cases' settings; the tensors are, for each case,

  CASE.prompt_embeds, CASE.negative_prompt_embeds [1, tokens, channels]
  CASE.latents [frames, channels, height, width]   after the last step
  CASE.initial_latents   the same shape, only where the case is given its starting point

    python tools/reference/pipeline_latents.py       (diffusers 0.42.1, one thread)
"""

import argparse
import json
import pathlib

import torch
from diffusers import CogVideoXDPMScheduler, CogVideoXPipeline
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = [
    {"name": "2b_like", "checkpoint": "sincos", "scheduler": "ddim", "guidance_scale": 6.0,
     "use_dynamic_cfg": False, "num_inference_steps": 8, "num_frames": 9, "height": 48,
     "width": 64, "seed": 42},
    {"name": "5b_like", "checkpoint": "rope", "scheduler": "dpm", "guidance_scale": 6.0,
     "use_dynamic_cfg": True, "num_inference_steps": 10, "num_frames": 9, "height": 48,
     "width": 64, "seed": 42},
    {"name": "guidance_off", "checkpoint": "sincos", "scheduler": "dpm", "guidance_scale": 1.0,
     "use_dynamic_cfg": True, "num_inference_steps": 5, "num_frames": 9, "height": 48,
     "width": 64, "seed": 7},
    # 7 does not divide 1000: DPM's last step is then one of second order.
    {"name": "rope_other_size", "checkpoint": "rope", "scheduler": "dpm", "guidance_scale": 4.5,
     "use_dynamic_cfg": False, "num_inference_steps": 7, "num_frames": 17, "height": 80,
     "width": 32, "seed": 123456789},
    {"name": "sincos_other_size", "checkpoint": "sincos", "scheduler": "ddim",
     "guidance_scale": 3.0, "use_dynamic_cfg": True, "num_inference_steps": 6, "num_frames": 17,
     "height": 32, "width": 80, "seed": 0},
    {"name": "given_latents", "checkpoint": "rope", "scheduler": "dpm", "guidance_scale": 6.0,
     "use_dynamic_cfg": True, "num_inference_steps": 4, "num_frames": 9, "height": 48,
     "width": 64, "seed": 3, "given": True},
]


def run(case, seed):
    folder = ROOT / "tests/data/checkpoints" / case["checkpoint"]
    pipeline = CogVideoXPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if case["scheduler"] == "dpm":
        pipeline.scheduler = CogVideoXDPMScheduler.from_config(pipeline.scheduler.config)
    config = pipeline.transformer.config
    generator = torch.Generator().manual_seed(1000 + seed)
    shape = (1, config.max_text_seq_length, config.text_embed_dim)
    prompt = torch.randn(shape, generator=generator)
    negative = torch.randn(shape, generator=generator)
    settings = ("guidance_scale", "use_dynamic_cfg", "num_inference_steps", "num_frames", "height",
                "width")
    frames = (case["num_frames"] - 1) // 4 + 1
    given = None
    if case.get("given"):
        given = torch.randn(
            (1, frames, config.in_channels, case["height"] // 8, case["width"] // 8),
            generator=generator)
    latents = pipeline(
        prompt_embeds=prompt, negative_prompt_embeds=negative, output_type="latent",
        generator=torch.Generator("cpu").manual_seed(case["seed"]), latents=given,
        max_sequence_length=config.max_text_seq_length,
        **{key: case[key] for key in settings}).frames
    tensors = {"prompt_embeds": prompt, "negative_prompt_embeds": negative, "latents": latents[0]}
    if given is not None:
        tensors["initial_latents"] = given[0]
    return {f"{case['name']}.{key}": value.contiguous() for key, value in tensors.items()}


def main():
    tensors = {}
    for seed, case in enumerate(CASES):
        tensors |= run(case, seed)
    save_file(tensors, ROOT / "tests/data/sampling.safetensors")
    (ROOT / "tests/data/sampling.json").write_text(json.dumps(CASES, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    main()
