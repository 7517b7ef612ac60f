"""Puts the trained parts together as a checkpoint folder in diffusers' layout, fp16, and lists the digests of all files."""

import json
import shutil

import blake3
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from transformers import T5EncoderModel

import tokenizer as vocabulary
from transformer import SCHEDULER, folders


def train(run):
    """Stage `assemble`: writes output/model."""
    folder = run.output / "model"
    transformer, text_encoder = folders(run, "words")[0], run.work / "order-text"
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = CogVideoXPipeline(
        tokenizer=vocabulary.load(run),
        text_encoder=T5EncoderModel.from_pretrained(text_encoder),
        vae=AutoencoderKLCogVideoX.from_pretrained(run.work / "vae-final"),
        transformer=CogVideoXTransformer3DModel.from_pretrained(transformer),
        scheduler=CogVideoXDDIMScheduler(**SCHEDULER),
    )
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder)
    shutil.copy(run.work / "tokenizer" / "spiece.model", folder / "tokenizer")
    for file in folder.rglob("*config.json"):
        clean(file)
    for file in files(folder):
        print(f"{file.stat().st_size:>9} {file.relative_to(folder)}")
    write_sums(folder)


def files(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def write_sums(folder):
    """B3SUMS: the digest of every other file, as b3sum writes it and `make demo` and `cogwheel doctor` check it."""
    named = [file for file in files(folder) if file.name != "B3SUMS"]
    lines = [f"{blake3.blake3(file.read_bytes()).hexdigest()}  {file.relative_to(folder).as_posix()}\n" for file in named]
    (folder / "B3SUMS").write_text("".join(lines))


def clean(file):
    """Takes out of a config where it was loaded from."""
    config = json.loads(file.read_text())
    config.pop("_name_or_path", None)
    if "local_files_only" in config:
        config["local_files_only"] = False
    file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
