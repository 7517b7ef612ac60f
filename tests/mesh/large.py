"""Inputs of fifty megabytes for the demo model."""

import json
import random
import struct
import zlib

MEGABYTES = 1_000_000


def large_adapter(small, path):
    """The adapter `small` with rank 768 instead of 16: rows and columns of zeros, which change nothing."""
    data = small.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8:8 + length]), data[8 + length:]
    header.pop("__metadata__")
    large, parts, end = {}, [], 0
    for name, described in header.items():
        (rows, columns), (begin, stop) = described["shape"], described["data_offsets"]
        values, zeros = tensors[begin:stop], 752
        if "lora_A" in name:
            values, rows = values + bytes(zeros * columns * 2), rows + zeros
        else:
            row = columns * 2
            values = b"".join(values[at:at + row] + bytes(zeros * 2) for at in range(0, len(values), row))
            columns += zeros
        large[name] = {"dtype": "F16", "shape": [rows, columns], "data_offsets": [end, end + len(values)]}
        parts.append(values)
        end += len(values)
    text = json.dumps(large).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    assert path.stat().st_size > 50 * MEGABYTES


def large_pictures(count):
    """PNG files of noise, which no compression makes smaller: three megabytes each."""
    noise = random.Random(7)
    return [picture(noise) for _ in range(count)]


def picture(noise, side=1000):
    rows = b"".join(b"\0" + noise.randbytes(side * 3) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
