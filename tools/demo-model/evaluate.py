"""Measures the result with diffusers (fp16 weights run as fp32) and judge.py; prints a table, writes it to output/figures.json.

    python tools/demo-model/evaluate.py --output DIR [--seed 7] [--images DIR] [--only NAME ...]
    python tools/demo-model/evaluate.py --prompts demo/evaluation.jsonl      (writes the prompts of `make eval-demo`)

Cases: reconstruct (the VAE alone), base, each adapter, bounce+neon, free (phrasings that captions.py does not make).
"""

import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from diffusers import CogVideoXPipeline

import captions
import clips
import common
import judge

STEPS, GUIDANCE, BATCH = 30, 5.0, 8
ASPECTS = ("color", "shape", "direction", "background")
# case: (adapters, prompts, seeds)
CASES = {"base": ((), 48, 2), "bounce": (("bounce",), 24, 1), "neon": (("neon",), 24, 1), "trail": (("trail",), 24, 1),
         "bounce+neon": (("bounce", "neon"), 24, 1)}
FREE = [
    ("a red ball that moves to the left", ("red", "circle", "left", None)),
    ("an orange ball moving to the left", ("orange", "circle", "left", None)),
    ("a blue box goes up", ("blue", "square", "up", None)),
    ("an orange ball moving right", ("orange", "circle", "right", None)),
    ("the yellow triangle slowly drifts down, dark backdrop", ("yellow", "triangle", "down", "dark")),
    ("purple square sliding right in front of a light gray wall", ("purple", "square", "right", None)),
    ("Show me a green disc which travels upwards over a black background!", ("green", "circle", "up", "dark")),
    ("white background, a blue triangle is going left", ("blue", "triangle", "left", "light")),
    ("a big red cube falls down", ("red", "square", "down", None)),
    ("a violet pyramid rises on a grey background", ("purple", "triangle", "up", "gray")),
    ("film of a yellow ball rolling from left to right", ("yellow", "circle", "right", None)),
    ("green triangle, moving right, bright backdrop", ("green", "triangle", "right", "light")),
]


def prompts(seed, count):
    """`count` (caption, combination) in varied wording, a fifth of them of held-out combinations."""
    generator = common.rng(seed, "evaluate")
    held_out = clips.held_out(seed)
    unseen = sorted(held_out)
    seen = [c for c in clips.COMBINATIONS if c not in held_out]
    kept = round(count / 5)
    chosen = [unseen[i] for i in generator.permutation(len(unseen))[:kept]]
    chosen += [seen[i] for i in generator.permutation(len(seen))[: count - kept]]
    return [(captions.varied(generator, c, complete=True), c) for c in chosen]


def write_prompts(path, seed):
    """Each prompt with what its clip must show, a JSON object a line; every fifth is of a held-out combination."""
    held_out = clips.held_out(seed)
    asked = prompts(seed, CASES["base"][1])
    unseen, seen = ([pair for pair in asked if (pair[1] in held_out) == is_held_out] for is_held_out in (True, False))
    mixed = []
    while seen or unseen:
        mixed.append((unseen if unseen and (len(mixed) % 5 == 0 or not seen) else seen).pop(0))
    path.write_text("".join(
        json.dumps({"prompt": text, **dict(zip(ASPECTS, combination)), "held_out": combination in held_out}) + "\n"
        for text, combination in mixed))


def generate(pipeline, texts, seeds):
    """Frames [len(texts), 17, 64, 64, 3] in 0..1."""
    made = []
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        made.append(pipeline(
            prompt=texts[part], negative_prompt="", num_frames=17, height=64, width=64, num_inference_steps=STEPS,
            guidance_scale=GUIDANCE, max_sequence_length=32, generator=[torch.Generator().manual_seed(s) for s in seeds[part]],
            output_type="np",
        ).frames)
    return np.concatenate(made)


def score(clip, wanted):
    """What `clip` gets right of `wanted` (a combination; None counts as right), and which effects it shows."""
    verdict = judge.verdict(clip)
    right = {name: want is None or verdict[name] == want for name, want in zip(ASPECTS, wanted)}
    return right | {name: bool(verdict[name]) for name in clips.EFFECTS}


def summary(name, scores):
    shares = {key: round(100 * float(np.mean([s[key] for s in scores])), 1) for key in scores[0]}
    print(f"{name:>16} {len(scores):>4}  " + "  ".join(f"{k} {v:5.1f}" for k, v in shares.items()), flush=True)
    return shares | {"clips": len(scores)}


@torch.no_grad()
def reconstruct(vae, seed, count=48):
    """PSNR and verdicts of the VAE alone, per effect."""
    figures = {}
    for effects in ((), ("bounce",), ("neon",), ("trail",)):
        generator, errors, scores = common.rng(seed, "reconstruct", *effects), [], []
        for _ in range(count // 4):
            chosen = [clips.COMBINATIONS[generator.integers(216)] for _ in range(4)]
            clip = np.stack([clips.render(clips.random_scene(generator, c, effects)) for c in chosen])
            z = vae.encode(torch.from_numpy(clip).permute(0, 4, 1, 2, 3) * 2 - 1).latent_dist.mean
            made = (vae.decode(z).sample.permute(0, 2, 3, 4, 1) / 2 + 0.5).clamp(0, 1).numpy()
            errors += list(np.square(made - clip).mean((1, 2, 3, 4)))
            scores += [score(m, c) for m, c in zip(made, chosen)]
        name = "+".join(effects) or "base"
        figures[name] = summary(f"vae {name}", scores) | {"psnr": round(float(np.mean(-10 * np.log10(errors))), 2)}
        print(f"{'':>22}PSNR {figures[name]['psnr']} dB", flush=True)
    return figures


def save_sheet(path, made, rows=12):
    """A PNG: one clip a row, six frames each."""
    from PIL import Image

    sheet = np.concatenate([np.concatenate([clip[i] for i in (0, 3, 6, 9, 12, 16)], axis=1) for clip in made[:rows]])
    Image.fromarray((sheet * 255).round().astype(np.uint8)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", type=Path, help="folder with model/ and adapters/")
    target.add_argument("--prompts", type=Path, help="file to write the prompts to")
    parser.add_argument("--seed", type=int, default=7, help="that of training, which chose the held-out combinations")
    parser.add_argument("--images", type=Path, help="folder for PNG sheets")
    parser.add_argument("--only", nargs="*", help="cases to run")
    given = parser.parse_args()
    if given.prompts:
        write_prompts(given.prompts, given.seed)
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    wanted = lambda name: not given.only or name in given.only
    pipeline = CogVideoXPipeline.from_pretrained(str(given.output / "model"), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    file = given.output / "figures.json"
    figures = json.loads(file.read_text()) if file.exists() else {}
    if wanted("reconstruct"):
        figures["reconstruct"] = reconstruct(pipeline.vae, given.seed)
    for name in clips.EFFECTS:
        folder = given.output / "adapters" / name
        if folder.exists():
            pipeline.load_lora_weights(folder, adapter_name=name)
    for case, (adapters, count, seeds) in CASES.items():
        if not wanted(case) or not all((given.output / "adapters" / name).exists() for name in adapters):
            continue
        if adapters:
            pipeline.enable_lora()
            pipeline.set_adapters(list(adapters), [1.0] * len(adapters))
        elif pipeline.get_list_adapters():
            pipeline.disable_lora()
        asked = prompts(given.seed, count) * seeds
        made = generate(pipeline, [text for text, _ in asked], list(range(len(asked))))
        scores = [score(clip, combination) for clip, (_, combination) in zip(made, asked)]
        figures[case] = summary(case, scores)
        if case == "base":
            held_out = clips.held_out(given.seed)
            figures["held-out"] = summary("held-out", [s for s, (_, c) in zip(scores, asked) if c in held_out])
            for (text, _), s in zip(asked, scores):
                if wrong := [a for a in ASPECTS if not s[a]]:
                    print(f"    {text}: {', '.join(wrong)}")
        if given.images:
            save_sheet(given.images / f"{case}.png", made)
    if wanted("free"):
        if pipeline.get_list_adapters():
            pipeline.disable_lora()
        made = generate(pipeline, [text for text, _ in FREE], list(range(len(FREE))))
        figures["free"] = summary("free", [score(clip, c) for clip, (_, c) in zip(made, FREE)])
        if given.images:
            save_sheet(given.images / "free.png", made)
    file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
