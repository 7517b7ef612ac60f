"""Every benchmark as one table: ours beside diffusers and transformers, the same weights, one run.

    make bench            (or: python tools/bench/main.py, after a release build of bins and examples)

Times are medians of runs that alternate between both sides; `faster` is the ratio of the medians and
the only figure that means something on a machine that does other work. Peaks are each process's own.
"""

import sys

import adapter
import generation
import pairs
import text_encoder
import transformer
import vae
import variants


def main():
    print(pairs.HEAD, flush=True)
    for benchmark, *options in (
            (transformer,), (transformer, "--int8"), (text_encoder,), (text_encoder, "--int8"), (vae,), (vae, "--encode")):
        # Each has options of its own; here they are the defaults.
        sys.argv = [benchmark.__file__, *options]
        print(pairs.show(benchmark.line(benchmark.parse())), flush=True)
    sys.argv = [adapter.__file__]
    line, reading = adapter.line(adapter.parse())
    print(pairs.show(line))
    print(f"of it, reading and describing the adapter: {reading:.3f}s", flush=True)
    sys.argv = [variants.__file__]
    variants.report(variants.parse())
    sys.argv = [generation.__file__]
    line, outside = generation.line(generation.parse())
    print(pairs.show(line))
    print(f"of our time for that video, outside Session::run: {outside:.2%}")


if __name__ == "__main__":
    main()
