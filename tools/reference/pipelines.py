"""Whole pipelines of diffusers in fp32 on the CPU, from prompt to frames: tests/data/pipelines/.

Each case is a safetensors file with `latents` [frames, channels, height, width] after the last
step (as output_type="latent" gives them) and `frames` [frames, height, width, 3] in 0..1 (as
output_type="np"), and its settings as metadata. Run after checkpoints.py.

    python tools/reference/pipelines.py            (diffusers 0.42.1, transformers 5.23)
"""

import argparse
import json
import pathlib

import torch
import diffusers.schedulers.scheduling_dpm_cogvideox as dpm_module
from diffusers import CogVideoXDPMScheduler, CogVideoXPipeline
from diffusers.utils.torch_utils import randn_tensor
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT, NEGATIVE = "a red circle dancing under the rain", "blue squares, dark"
BASE = dict(prompt=PROMPT, negative_prompt=NEGATIVE, width=64, height=48, num_frames=9,
            num_inference_steps=8, guidance_scale=6.0, seed=42)
CASES = {
    # As CogVideoX-2b is run: DDIM, constant guidance.
    "ddim": dict(BASE, checkpoint="sincos", scheduler="ddim"),
    # Another size and length than the config's; 7 steps do not divide 1000.
    "ddim-larger": dict(BASE, checkpoint="sincos", scheduler="ddim", width=80, height=64, num_frames=17,
                        num_inference_steps=7, seed=7),
    "ddim-guidance-1": dict(BASE, checkpoint="sincos", scheduler="ddim", guidance_scale=1.0,
                            num_inference_steps=4, seed=3),
    # As CogVideoX-5b is run: DPM, dynamic guidance.
    "dpm": dict(BASE, checkpoint="rope", scheduler="dpm", num_inference_steps=10),
    "dpm-larger": dict(BASE, checkpoint="rope", scheduler="dpm", width=48, height=80, num_frames=17,
                       num_inference_steps=6, seed=2**32 + 5),
    "dpm-guidance-1": dict(BASE, checkpoint="rope", scheduler="dpm", guidance_scale=1.0,
                           num_inference_steps=4, seed=3),
    # The demo checkpoint as it is shown, fp16 weights run in fp32.
    "demo": dict(checkpoint="demo", scheduler="ddim", prompt="a red circle moving left on a dark background",
                 negative_prompt="", width=64, height=64, num_frames=17, num_inference_steps=12,
                 guidance_scale=6.0, seed=7),
    # Adapters of adapters.py, as set_adapters scales them.
    "lora-one": dict(BASE, checkpoint="sincos", scheduler="ddim", num_inference_steps=4,
                     adapters=[("attention", 0.7)]),
    "lora-several": dict(BASE, checkpoint="sincos", scheduler="ddim", num_inference_steps=4,
                         adapters=[("mixed", 0.7), ("rslora", -0.4), ("ranks", 1.0)]),
    "lora-dora": dict(BASE, checkpoint="sincos", scheduler="ddim", num_inference_steps=4,
                      adapters=[("dora", 0.7), ("ranks", -0.4), ("decomposed", 1.3)]),
    "lora-demo": dict(checkpoint="demo", scheduler="ddim", prompt="a red circle moving left on a dark background",
                      negative_prompt="", width=64, height=64, num_frames=17, num_inference_steps=8,
                      guidance_scale=6.0, seed=7, adapters=[("neon", 1.0), ("bounce", 0.8)]),
    "storage-bf16": dict(BASE, checkpoint="sincos", scheduler="ddim", storage="bfloat16"),
    "storage-fp16": dict(BASE, checkpoint="rope", scheduler="dpm", storage="float16"),
}


def stored(pipeline, case, generator):
    """Rounds what is kept, and gives the pipeline's arguments that do so on the way."""
    dtype = getattr(torch, case["storage"])
    rounded = lambda tensor: tensor.to(dtype).float()
    for part in (pipeline.text_encoder, pipeline.transformer, pipeline.vae):
        for name, parameter in part.named_parameters():
            # transformers keeps T5's `wo` in fp32 where the rest is fp16, and only there.
            if not (part is pipeline.text_encoder and dtype == torch.float16 and ".wo." in name):
                parameter.data = rounded(parameter.data)

    def drawn(shape, generator, device, dtype=None):
        return torch.randn(shape, generator=generator, dtype=getattr(torch, case["storage"])).float()

    dpm_module.randn_tensor = drawn
    guided = case["guidance_scale"] > 1
    prompt, negative = pipeline.encode_prompt(
        case["prompt"], case["negative_prompt"], guided,
        max_sequence_length=pipeline.transformer.config.max_text_seq_length)
    ratio, channels = pipeline.vae_scale_factor_spatial, pipeline.transformer.config.in_channels
    frames = (case["num_frames"] - 1) // pipeline.vae_scale_factor_temporal + 1
    shape = (1, frames, channels, case["height"] // ratio, case["width"] // ratio)
    return dict(prompt_embeds=rounded(prompt), negative_prompt_embeds=rounded(negative),
                latents=drawn(shape, generator, None),
                callback_on_step_end=lambda pipe, step, t, state: {"latents": rounded(state["latents"])})


def run(case):
    folder = ROOT / "demo/model" if case["checkpoint"] == "demo" else ROOT / "tests/data/checkpoints" / case["checkpoint"]
    pipeline = CogVideoXPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if case["scheduler"] == "dpm":
        pipeline.scheduler = CogVideoXDPMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    for name, _ in case.get("adapters", []):
        if case["checkpoint"] == "demo":
            pipeline.load_lora_weights(ROOT / "demo/adapters" / name, adapter_name=name)
        else:
            pipeline.load_lora_weights(ROOT / "tests/data/adapters", weight_name=f"{name}.safetensors",
                                       adapter_name=name)
    if "adapters" in case:
        names, scales = zip(*case["adapters"])
        pipeline.set_adapters(list(names), list(scales))
        if "dora" in names:
            # Several DoRAs are what their merge in turn makes of them; unmerged, PEFT adds them up otherwise.
            pipeline.fuse_lora(components=["transformer"], adapter_names=list(names))
            pipeline.unload_lora_weights()
    results = {}
    for output_type in ("latent", "np"):
        generator = torch.Generator().manual_seed(case["seed"])
        dpm_module.randn_tensor = randn_tensor
        if "storage" in case:
            given = stored(pipeline, case, generator)
        else:
            given = dict(prompt=case["prompt"], negative_prompt=case["negative_prompt"])
        results[output_type] = pipeline(
            **given, width=case["width"], height=case["height"], num_frames=case["num_frames"],
            num_inference_steps=case["num_inference_steps"], guidance_scale=case["guidance_scale"],
            use_dynamic_cfg=case["scheduler"] == "dpm", output_type=output_type,
            max_sequence_length=pipeline.transformer.config.max_text_seq_length,
            generator=generator).frames
    return results["latent"][0].contiguous(), torch.from_numpy(results["np"][0]).contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to make; all by default")
    names = parser.parse_args().names or CASES
    torch.set_num_threads(1)
    folder = ROOT / "tests/data/pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        case = CASES[name]
        latents, frames = run(case)
        assert frames.shape[0] == case["num_frames"] and torch.isfinite(frames).all()
        print(f"{name}: latents {tuple(latents.shape)} std {latents.std():.3f}, frames {tuple(frames.shape)} "
              f"mean {frames.mean():.3f} std {frames.std():.3f}")
        metadata = {"case": json.dumps(case)}
        # Half precision is good to 77 dB and halves what the repository carries; two cases show more.
        frames = frames.float() if name in ("ddim", "dpm") else frames.half()
        save_file({"latents": latents.float(), "frames": frames}, folder / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
