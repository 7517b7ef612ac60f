"""One forward of the text encoder, ours beside transformers', fp32 on the CPU, the same weights.

The encoder is T5 v1.1 XXL's, cut to a few layers and a small vocabulary, with random weights from a fixed seed;
two prompts of 226 tokens.

    cargo build --release -p cogwheel-text-encoder --example encode
    python tools/bench/text_encoder.py [--layers 2] [--threads 2] [--pairs 9]

(transformers 5.23; finds ONNX Runtime as the services do: .runtime or ORT_DYLIB_PATH.)
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import pairs

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCABULARY = 1024
IDS = (2, 226)


def make(folder, arguments):
    """The slice's folder and ids."""
    import torch
    from safetensors.torch import save_file
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=4096, d_kv=64, d_ff=10240, num_layers=arguments.layers, num_heads=64,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False)
    T5EncoderModel(config).save_pretrained(folder)
    save_file({"input_ids": torch.randint(VOCABULARY, IDS)}, folder / "inputs.safetensors")


def transformers_side(folder, threads, dtype):
    """The other side of the line protocol."""
    import torch
    from safetensors.torch import load_file
    from transformers import T5EncoderModel

    torch.set_num_threads(threads)
    model = T5EncoderModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ids = load_file(folder / "inputs.safetensors")["input_ids"]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("save "):
            pathlib.Path(line.split()[1]).write_bytes(embeddings.float().contiguous().numpy().tobytes())
            print("saved", flush=True)
            continue
        start = time.perf_counter()
        with torch.no_grad():
            embeddings = model(ids)[0]
        print(time.perf_counter() - start, flush=True)


def line(arguments):
    """The benchmark's line for the table."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: what it leaves in memory is neither side's.
        make_it = [sys.executable, __file__, "--make", folder, "--layers", arguments.layers]
        if os.spawnv(os.P_WAIT, sys.executable, [str(part) for part in make_it]) != 0:
            raise RuntimeError("the slice could not be made")
        encode = arguments.binary or ROOT / "target/release/examples/encode"
        ours = pairs.Side("cogwheel", [
            encode, folder, folder / "inputs.safetensors", arguments.threads, *arguments.encode_options,
            *["int8"] * arguments.int8],
            arguments.threads)
        transformers = lambda dtype: pairs.Side("transformers", [
            sys.executable, __file__, "--transformers", folder, "--threads", arguments.threads, "--dtype", dtype],
            arguments.threads)
        theirs = transformers("bfloat16" if arguments.int8 else "float32")
        what = f"t5, {arguments.layers} layers, {IDS[0]} x {IDS[1]} tokens"
        what = f"int8 / bf16 {what}" if arguments.int8 else what
        result = pairs.compare(what, ours, theirs, arguments.pairs)
        if arguments.int8:
            theirs.close()
            theirs = transformers("float32")
            theirs.run()
        for side, name in ((ours, "ours"), (theirs, "theirs")):
            side.ask(f"save {folder / name}")
            side.close()
        result.error = pairs.relative_error(folder / "ours", folder / "theirs")
        return result


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--int8", action="store_true", help="ours in int8, theirs in bf16; the error is against fp32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--binary", help="the built example, if elsewhere")
    parser.add_argument("--encode-options", nargs="*", default=[])
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--transformers", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if arguments.make:
        make(arguments.make, arguments)
    elif arguments.transformers:
        transformers_side(arguments.transformers, arguments.threads, arguments.dtype)
    else:
        print(pairs.HEAD)
        print(pairs.show(line(arguments)))
