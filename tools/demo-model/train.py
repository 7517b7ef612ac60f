"""Trains the demo checkpoint and its adapters from nothing.

    python tools/demo-model/train.py --work DIR --output DIR [--stage NAME]

Stages run in order and those already done are skipped; a stage that was cut off continues from its last checkpoint in
`--work`. With --stage only that one runs, from its checkpoint if it has one.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import adapters
import assemble
import clips
import common
import decoder
import latents
import order
import tokenizer
import transformer
import vae
import whiten


def parallel(function, *arguments):
    return lambda run: common.launch(function, run, *arguments)


STAGES = (
    {"tokenizer": tokenizer.train, "vae": parallel(vae.train), "whiten": whiten.train, "latents": parallel(latents.train)}
    | {name: parallel(transformer.train, name) for name in transformer.STAGES}
    | {"order": parallel(order.train)}
    | {name: parallel(adapters.train, name) for name in clips.EFFECTS}
    | {"decoder": parallel(decoder.train), "assemble": assemble.train}
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of intermediate results")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets model/ and adapters/")
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; part of what determines the result")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every stage's steps, for a quick look")
    given = parser.parse_args()
    run = common.Run(given.work, given.output, given.seed, given.workers, given.scale)
    run.work.mkdir(parents=True, exist_ok=True)
    for name in [given.stage] if given.stage else STAGES:
        done = run.work / f"{name}.done"
        if done.exists() and not given.stage:
            continue
        since = time.monotonic()
        STAGES[name](run)
        done.write_text(f"{time.monotonic() - since:.0f} s\n")
        print(f"{time.strftime('%H:%M:%S')} {name} done in {time.monotonic() - since:.0f} s", flush=True)


if __name__ == "__main__":
    main()
