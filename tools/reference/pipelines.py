"""Whole pipelines of diffusers in fp32 on the CPU, from prompt to frames: tests/data/pipelines/.

Each case is a safetensors file with `latents` [frames, channels, height, width] after the last
step (as output_type="latent" gives them) and `frames` [frames, height, width, 3] in 0..1 (as
output_type="np"), and its settings as metadata; where the pipeline starts from a picture or a
video, that is there too, as it was before it was resized: `image` [height, width, 3] or `video`
[frames, height, width, 3], U8. Run after checkpoints.py.

What diffusers cannot do, padding a video for CogVideoX 1.5, is done here before its pipeline
starts: the first latent frame is repeated in front, as training does it.

    python tools/reference/pipelines.py            (diffusers 0.42.1, transformers 5.23)
"""

import argparse
import json
import pathlib

import diffusers.schedulers.scheduling_dpm_cogvideox as dpm_module
import numpy
import PIL.Image
import torch
from diffusers import (
    CogVideoXDPMScheduler,
    CogVideoXFunControlPipeline,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXVideoToVideoPipeline,
)
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
    # Image to video as CogVideoX-5b-I2V is run: a learned table at its own length, else sin-cos. `image` is the size
    # of the picture before it is resized, height and width.
    "image": dict(BASE, checkpoint="image", scheduler="dpm", num_inference_steps=6, image=(90, 100)),
    "image-longer": dict(BASE, checkpoint="image", scheduler="ddim", num_inference_steps=4, num_frames=17,
                         image=(31, 47), seed=7),
    "image-lora": dict(BASE, checkpoint="image", scheduler="ddim", num_inference_steps=4, image=(48, 64),
                       adapters=[("attention", 0.7)]),
    # CogVideoX 1.5: patches of two latent frames.
    "patches": dict(BASE, checkpoint="patches", scheduler="dpm", num_inference_steps=6),
    "patches-larger": dict(BASE, checkpoint="patches", scheduler="ddim", num_inference_steps=4, num_frames=17,
                           width=80, height=112, seed=7),
    "patches-lora": dict(BASE, checkpoint="patches", scheduler="ddim", num_inference_steps=4,
                         adapters=[("attention", 0.7)]),
    "image15": dict(BASE, checkpoint="image15", scheduler="dpm", num_inference_steps=6, image=(90, 100)),
    "image15-larger": dict(BASE, checkpoint="image15", scheduler="ddim", num_inference_steps=4, num_frames=17,
                           width=80, height=112, image=(300, 200), seed=7, adapters=[("attention", 0.7)]),
    # Video to video; `video` is its frames and their size before they are resized.
    "video": dict(BASE, checkpoint="sincos", scheduler="ddim", video=(9, 40, 60), strength=0.8),
    "video-larger": dict(BASE, checkpoint="rope", scheduler="dpm", num_inference_steps=10, num_frames=17, width=48,
                         height=80, video=(17, 160, 96), strength=0.55, seed=7),
    "video-lora": dict(BASE, checkpoint="sincos", scheduler="ddim", num_inference_steps=5, video=(9, 48, 64),
                       strength=1.0, adapters=[("attention", 0.7)]),
    "video-patches": dict(BASE, checkpoint="patches", scheduler="dpm", video=(9, 40, 60), strength=0.8),
    "video-patches-larger": dict(BASE, checkpoint="patches", scheduler="ddim", num_inference_steps=5, num_frames=17,
                                 width=80, height=112, video=(17, 60, 40), strength=0.6, seed=7),
    # Fun-Control, which diffusers runs with DDIM alone.
    "control": dict(BASE, checkpoint="control", scheduler="ddim", num_inference_steps=6, video=(9, 40, 60)),
    "control-larger": dict(BASE, checkpoint="control", scheduler="ddim", num_inference_steps=4, num_frames=17,
                           width=80, height=32, video=(17, 64, 160), seed=7, adapters=[("attention", 0.7)]),
}
PIPELINES = {
    "image": CogVideoXImageToVideoPipeline, "image15": CogVideoXImageToVideoPipeline,
    "control": CogVideoXFunControlPipeline}


def moving(frames, height, width, seed):
    """A disc that moves over a gradient, with some noise: U8 [frames, height, width, 3]."""
    drawn = numpy.random.default_rng(seed)
    rows, columns = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    ground = numpy.stack([rows / height, columns / width, (rows + columns) / (height + width)], axis=-1) * 200
    video = []
    for frame in range(frames):
        centre = (frame + 1) / (frames + 1)
        inside = (rows / height - 0.5) ** 2 + (columns / width - centre) ** 2 < 0.05
        picture = numpy.where(inside[..., None], [230.0, 60.0, 40.0], ground)
        video.append(picture + drawn.uniform(0, 20, picture.shape))
    return numpy.stack(video).astype(numpy.uint8)


def given(pipeline, case, generator):
    """What the pipeline starts from beside the prompts, as its arguments."""
    if "image" in case:
        return dict(image=PIL.Image.fromarray(moving(1, *case["image"], case["seed"])[0]))
    if "video" not in case:
        return {}
    video = [PIL.Image.fromarray(frame) for frame in moving(*case["video"], case["seed"])]
    if "strength" not in case:
        return dict(control_video=[video])
    if pipeline.transformer.config.patch_size_t is None:
        return dict(video=video, strength=case["strength"])
    frames = pipeline.video_processor.preprocess_video(video, height=case["height"], width=case["width"])
    drawn = pipeline.vae.encode(frames).latent_dist.sample(generator).transpose(1, 2)
    drawn = drawn * pipeline.vae.config.scaling_factor
    padding = -drawn.shape[1] % pipeline.transformer.config.patch_size_t
    drawn = torch.cat([drawn[:, :1]] * padding + [drawn], dim=1)
    pipeline.scheduler.set_timesteps(case["num_inference_steps"])
    first, _ = pipeline.get_timesteps(
        case["num_inference_steps"], pipeline.scheduler.timesteps, case["strength"], None)
    noise = torch.randn(drawn.shape, generator=generator)
    # It counts given latents as frames, and would refuse an even number of them.
    pipeline.vae_scale_factor_temporal = 1
    return dict(video=None, strength=case["strength"], latents=pipeline.scheduler.add_noise(drawn, noise, first[:1]))


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


@torch.no_grad()
def run(case):
    folder = ROOT / "demo/model" if case["checkpoint"] == "demo" else ROOT / "tests/data/checkpoints" / case["checkpoint"]
    kind = PIPELINES.get(case["checkpoint"], CogVideoXPipeline)
    kind = CogVideoXVideoToVideoPipeline if "strength" in case else kind
    pipeline = kind.from_pretrained(folder, torch_dtype=torch.float32)
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
    padded = "strength" in case and pipeline.transformer.config.patch_size_t is not None
    for output_type in ("latent",) if padded else ("latent", "np"):
        generator = torch.Generator().manual_seed(case["seed"])
        dpm_module.randn_tensor = randn_tensor
        if "storage" in case:
            arguments = stored(pipeline, case, generator)
        else:
            arguments = dict(prompt=case["prompt"], negative_prompt=case["negative_prompt"])
        arguments |= given(pipeline, case, generator)
        if "video" not in case:
            arguments["num_frames"] = case["num_frames"]
        results[output_type] = pipeline(
            **arguments, width=case["width"], height=case["height"],
            num_inference_steps=case["num_inference_steps"], guidance_scale=case["guidance_scale"],
            use_dynamic_cfg=case["scheduler"] == "dpm", output_type=output_type,
            max_sequence_length=pipeline.transformer.config.max_text_seq_length,
            generator=generator).frames
    tensors = {"latents": results["latent"][0].contiguous()}
    if padded:
        # The pipeline for videos knows no padding, and would decode it too.
        video = pipeline.decode_latents(results["latent"][:, -((case["num_frames"] - 1) // 4 + 1):])
        results["np"] = pipeline.video_processor.postprocess_video(video, output_type="np")
    tensors["frames"] = torch.from_numpy(results["np"][0]).contiguous()
    if "image" in case:
        tensors["image"] = torch.from_numpy(moving(1, *case["image"], case["seed"])[0])
    if "video" in case:
        tensors["video"] = torch.from_numpy(moving(*case["video"], case["seed"]))
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to make; all by default")
    names = parser.parse_args().names or CASES
    torch.set_num_threads(1)
    folder = ROOT / "tests/data/pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        case = CASES[name]
        tensors = run(case)
        latents, frames = tensors["latents"], tensors["frames"]
        assert frames.shape[0] == case["num_frames"] and torch.isfinite(frames).all()
        print(f"{name}: latents {tuple(latents.shape)} std {latents.std():.3f}, frames {tuple(frames.shape)} "
              f"mean {frames.mean():.3f} std {frames.std():.3f}")
        metadata = {"case": json.dumps(case)}
        # Half precision is good to 77 dB and halves what the repository carries; two cases show more.
        frames = frames.float() if name in ("ddim", "dpm") else frames.half()
        save_file(tensors | {"latents": latents.float(), "frames": frames}, folder / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
