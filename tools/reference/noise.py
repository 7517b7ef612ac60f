"""Reference values for shared/diffusion's `noise`: what torch draws from a CPU generator.

Writes tests/data/noise.safetensors:
  {seed}.{dtype}.{count}     torch.randn(count, generator=g, dtype=dtype) from a fresh generator of that seed
  {seed}.{dtype}.states      for each of those counts in order, the FNV-1a 64 hash of g.get_state() afterwards
  {seed}.large               the FNV-1a 64 hash of the little-endian bytes of 200,007 fp32 values
  {seed}.sequence.{i}        the i-th draw of SEQUENCE, all from one generator: counts and dtypes mixed
  {seed}.sequence.state      the bytes of g.get_state() after the whole sequence

Deterministic. Made with torch 2.15 on x86-64 with AVX2 (torch 2.7 draws fp16 and bf16 otherwise: see `noise`).

    python tools/reference/noise.py [--output tests/data/noise.safetensors]
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

SEEDS = [0, 42, 2**31, 2**32 + 5, 2**63]
COUNTS = [1, 2, 3, 5, 15, 16, 17, 31, 32, 100, 1000, 4096 + 7]
LARGE = 200_007
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# An odd count below 16 leaves a second normal in the generator: the draws around it show where it goes.
SEQUENCE = [
    ("f32", 3), ("f16", 5), ("f32", 1), ("bf16", 17), ("f32", 16), ("f32", 2), ("bf16", 1), ("f16", 31),
    ("f16", 1), ("f32", 40), ("bf16", 15), ("f32", 700), ("f32", 7), ("f16", 33), ("f32", 1),
]  # fmt: skip


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def signed(value: int) -> int:
    """safetensors of torch has no unsigned 64-bit integers."""
    return value - 2**64 if value >= 2**63 else value


def state_of(generator: torch.Generator) -> bytes:
    return bytes(generator.get_state().tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--output", type=Path, default=root / "tests/data/noise.safetensors")
    output = parser.parse_args().output
    torch.set_num_threads(1)

    tensors = {}
    for seed in SEEDS:
        for name, dtype in DTYPES.items():
            hashes = []
            for count in COUNTS:
                generator = torch.Generator("cpu").manual_seed(seed)
                tensors[f"{seed}.{name}.{count}"] = torch.randn(count, generator=generator, dtype=dtype)
                hashes.append(fnv1a(state_of(generator)))
            tensors[f"{seed}.{name}.states"] = torch.tensor([signed(h) for h in hashes])
        generator = torch.Generator("cpu").manual_seed(seed)
        large = torch.randn(LARGE, generator=generator)
        tensors[f"{seed}.large"] = torch.tensor([signed(fnv1a(large.numpy().tobytes()))])
        generator = torch.Generator("cpu").manual_seed(seed)
        for i, (name, count) in enumerate(SEQUENCE):
            drawn = torch.randn(count, generator=generator, dtype=DTYPES[name])
            tensors[f"{seed}.sequence.{i}"] = drawn
        tensors[f"{seed}.sequence.state"] = generator.get_state().clone()
    save_file(tensors, output)


if __name__ == "__main__":
    main()
