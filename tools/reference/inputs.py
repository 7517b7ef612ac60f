"""Makes tests/data/inputs: pictures and videos as users send them, and what Pillow and FFmpeg see in them.

  pictures/NAME        a PNG, JPEG or WebP file of 24x16 pixels; NAME.expected.png is what it shows: turned by
                       ImageOps.exif_transpose, on white where it is transparent, 16 bits rounded to 8
  videos/NAME          an MP4 or GIF file; NAME.expected.png has its frames one below the other, GIFs' on white. MP4 frames
                       are converted with bilinear chroma. Those without an expectation must be refused.
  resize.txt           per line width, height, new width, new height and the FNV-1a 64 hash of Pillow's LANCZOS resize of
                       the picture that `noise` draws for them

    pip install pillow numpy imageio-ffmpeg
    python tools/reference/inputs.py            (Pillow 13.0, FFmpeg 9.0 with libx264)
"""

import io
import pathlib
import shutil
import struct
import subprocess
import zlib

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps, ImageSequence

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/inputs"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WIDTH, HEIGHT = 24, 16


def scene(width=WIDTH, height=HEIGHT, at=0.0):
    """A red disc, a blue square and a white bar on a gradient, floats of 0 to 255; nothing in it is symmetrical."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    rgb = np.stack([30 + 90 * x / width, 60 + 100 * y / height, 90 - 60 * x / width], -1)

    def draw(distance, colour):
        cover = np.clip(0.5 - distance / 2, 0, 1)[..., None]
        return rgb * (1 - cover) + np.array(colour) * cover

    rgb = draw(np.hypot(x - width * (0.2 + 0.6 * at), y - height * 0.3) - height / 5, (220, 40, 40))
    square = np.maximum(abs(x - width * 0.7), abs(y - height * (0.8 - 0.5 * at))) - height / 6
    rgb = draw(square, (40, 80, 230))
    return draw(np.maximum(abs(x - width * 0.1), abs(y - height * 0.7) - height * 0.2) - 1, (250, 250, 250))


def bytes_of(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, colour_type, interlaced=False):
    """A PNG of what Pillow cannot write: 16 bits, Adam7. `values` has shape height, width, channels."""
    height, width, _ = values.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, right in passes:
        part = values[top::down, left::right].astype(values.dtype.newbyteorder(">"))
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, values.dtype.itemsize * 8, colour_type, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def on_white(image):
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
        alpha = rgba[..., 3:] / 255
        return Image.fromarray(bytes_of(rgba[..., :3] * alpha + 255 * (1 - alpha)))
    return image.convert("RGB")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def pictures():
    folder = ROOT / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    values = scene()
    image = Image.fromarray(bytes_of(values))
    alpha = bytes_of(np.tile(np.linspace(0, 255, WIDTH), (HEIGHT, 1)))
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(alpha))
    grey = image.convert("L")
    grey_alpha = grey.copy()
    grey_alpha.putalpha(Image.fromarray(alpha))
    palette = image.quantize(16)
    deep = np.rint(values * 257).astype(np.uint16)
    deep_rgba = np.concatenate([deep, alpha[..., None].astype(np.uint16) * 257], -1)
    later = Image.fromarray(bytes_of(scene(at=1)))

    files = {
        "rgb.png": saved(image, "PNG"),
        "grey.png": saved(grey, "PNG"),
        "bits.png": saved(grey.convert("1"), "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette_transparent.png": saved(palette, "PNG", transparency=3),
        "rgba.png": saved(rgba, "PNG"),
        "grey_alpha.png": saved(grey_alpha, "PNG"),
        "interlaced.png": png(bytes_of(values), 2, interlaced=True),
        "rgb16.png": png(deep, 2),
        "rgba16.png": png(deep_rgba, 6),
        "grey16.png": png(deep[..., :1], 0),
        "turned.png": saved(image, "PNG", exif=orientation(6)),
        "animated.png": saved(image, "PNG", save_all=True, append_images=[later], duration=100),
        "rgb.jpg": saved(image, "JPEG", quality=95),
        "full_chroma.jpg": saved(image, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": saved(image, "JPEG", quality=95, progressive=True),
        "grey.jpg": saved(grey, "JPEG", quality=95),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=95),
        "lossy.webp": saved(image, "WEBP", quality=95),
        "lossless.webp": saved(image, "WEBP", lossless=True),
        "alpha.webp": saved(rgba, "WEBP", quality=95, exact=True),
        "turned.webp": saved(image, "WEBP", lossless=True, exif=orientation(8)),
        "animated.webp": saved(image, "WEBP", save_all=True, append_images=[later], lossless=True, duration=100),
    }
    for value in range(1, 9):
        options = dict(quality=95, subsampling=0, exif=orientation(value))
        files[f"turned_{value}.jpg"] = saved(image, "JPEG", **options)
    for name, file in files.items():
        (folder / name).write_bytes(file)
        expected = on_white(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
        if name in ("rgb16.png", "rgba16.png", "grey16.png"):
            expected = Image.fromarray(bytes_of(np.rint(values * 257)[..., :1 if "grey" in name else 3].repeat(
                3 if "grey" in name else 1, -1) / 257))
            if "rgba" in name:
                expected.putalpha(Image.fromarray(alpha))
                expected = on_white(expected)
        expected.save(folder / f"{name}.expected.png", optimize=True)


class Gif:
    """Written by hand, so that every frame has the place, disposal and palette that it is meant to have."""

    def __init__(self, width, height, palette):
        self.data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x91, 0, 0) + bytes(palette)

    def frame(self, left, top, pixels, disposal, delay, transparent=3, palette=None, interlaced=False):
        height, width = pixels.shape
        rows = list(range(height))
        if interlaced:
            rows = rows[::8] + rows[4::8] + rows[2::4] + rows[1::2]
        self.data += b"!\xf9\x04" + struct.pack("<BHBB", disposal << 2 | (transparent is not None), delay, transparent or 0, 0)
        flags = (0x81 if palette else 0) | (0x40 if interlaced else 0)
        self.data += b"," + struct.pack("<HHHHB", left, top, width, height, flags) + bytes(palette or [])
        # Codes of three bits, the table cleared after every second pixel so that they stay as long.
        codes = [4]
        for index, pixel in enumerate(pixels[rows].ravel()):
            codes += [int(pixel)] + ([4] if index % 2 else [])
        bits = sum(code << 3 * index for index, code in enumerate(codes + [5]))
        packed = bits.to_bytes((3 * len(codes) + 3 + 7) // 8, "little")
        self.data += b"\x02"
        for start in range(0, len(packed), 255):
            part = packed[start : start + 255]
            self.data += bytes([len(part)]) + part
        self.data += b"\0"

    def finish(self):
        return self.data + b";"


def gifs(folder):
    first = [200, 30, 30, 30, 160, 60, 40, 60, 210, 0, 0, 0]
    second = [240, 220, 40, 10, 10, 10, 120, 40, 160, 0, 0, 0]
    rng = np.random.default_rng(0)

    def pixels(width, height, colours=4):
        return rng.integers(0, colours, (height, width))

    gif = Gif(12, 10, first)
    gif.frame(0, 0, pixels(12, 10), 1, 10)
    gif.frame(2, 3, pixels(5, 4), 2, 0)  # cleared afterwards
    gif.frame(6, 1, pixels(6, 9), 3, 20, palette=second)  # what was there comes back
    gif.frame(1, 1, pixels(7, 8, 3), 1, 10, interlaced=True)
    gif.frame(0, 8, pixels(12, 2), 0, 10)
    gif.frame(3, 0, pixels(4, 10), 2, 10, palette=second)
    gif.frame(11, 9, pixels(1, 1, 3), 1, 10)
    files = {"disposals.gif": gif.finish()}
    many = Gif(2, 2, first)
    for _ in range(30):
        many.frame(0, 0, pixels(2, 2, 3), 1, 5)
    files["many.gif"] = many.finish()
    plain = [Image.fromarray(bytes_of(scene(at=at / 4))) for at in range(5)]
    files["pillow.gif"] = saved(plain[0], "GIF", save_all=True, append_images=plain[1:], duration=125)
    for name, file in files.items():
        (folder / name).write_bytes(file)
        frames = [on_white(frame.copy()) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(file)))]
        strip(folder / f"{name}.expected.png", np.stack([np.asarray(frame) for frame in frames]))


def strip(path, frames):
    Image.fromarray(frames.reshape(-1, *frames.shape[2:])).save(path, optimize=True)


def ffmpeg(arguments, data=None):
    command = [FFMPEG, "-hide_banner", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def videos():
    folder = ROOT / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    gifs(folder)

    def encode(name, options, width=48, height=32, count=10, frames=None, rate="8"):
        if frames is None:
            frames = np.stack([bytes_of(scene(width, height, at / count)) for at in range(count)])
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
        exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-threads", "1"]
        ffmpeg([*source, *options, *exact, str(folder / name)], frames.tobytes())

    x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "medium"]
    encode("baseline.mp4", [*x264, "-profile:v", "baseline"])
    encode("sets_in_samples.mp4", [*x264, "-profile:v", "baseline", "-x264-params", "repeat-headers=1"])
    encode("b_frames.mp4", [*x264, "-bf", "3", "-x264-params", "b-pyramid=normal:b-adapt=0"], count=14)
    encode("open_gop.mp4", [*x264, "-x264-params", "open-gop=1:keyint=6:min-keyint=3:bframes=2:b-adapt=0"], count=14)
    many = np.stack([np.full((16, 16, 3), 20 + 2 * at) for at in range(100)]).astype(np.uint8)
    encode("long.mp4", [*x264, "-x264-params", "bframes=7:b-adapt=0:scenecut=0"], 16, 16, frames=many, rate="30000/1001")
    bt709 = ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"]
    encode("bt709.mp4", [*x264, *bt709])
    encode("full_range.mp4", [*x264, "-vf", "scale=out_range=pc", "-color_range", "pc"])
    encode("cropped.mp4", [*x264], 50, 34)
    for turn in (90, 180, 270):
        options = ["-display_rotation", str(turn), "-i", str(folder / "baseline.mp4"), "-c", "copy"]
        ffmpeg([*options, "-fflags", "+bitexact", str(folder / f"turned_{turn}.mp4")])
    sound = ["-f", "lavfi", "-i", "sine=duration=0.2:sample_rate=8000", "-c:a", "aac", "-b:a", "8k", "-fflags", "+bitexact"]
    ffmpeg(["-i", str(folder / "baseline.mp4"), *sound, "-c:v", "copy", "-map", "1:a", "-map", "0:v", str(folder / "sound.mp4")])
    expected = sorted(folder.glob("*.mp4"))

    ffmpeg([*sound, str(folder / "only_sound.mp4")])
    encode("hevc.mp4", ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none:info=0"], 64, 64, count=2)
    encode("vp9.mp4", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"], count=2)
    encode("av1.mp4", ["-c:v", "libaom-av1", "-pix_fmt", "yuv420p", "-cpu-used", "8"], 64, 64, count=2)
    encode("fragmented.mp4", [*x264, "-movflags", "+frag_keyframe+empty_moov"], count=2)
    key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "00" * 16, "-encryption_kid", "00" * 16]
    encode("encrypted.mp4", [*x264, *key], count=2)
    encode("chroma_422.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv422p"], count=2)
    encode("ten_bits.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"], count=2)
    encode("interlaced.mp4", [*x264, "-flags:v", "+ildct+ilme", "-x264-params", "tff=1"], count=2)

    for path in expected:
        flags = "scale=flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
        raw = ffmpeg(["-i", str(path), "-vf", flags, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        width, height = {"cropped.mp4": (50, 34), "long.mp4": (16, 16)}.get(path.name, (48, 32))
        if path.name in ("turned_90.mp4", "turned_270.mp4"):
            width, height = height, width
        strip(folder / f"{path.name}.expected.png", np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3))


def noise(count):
    """A linear congruential generator's upper bytes (Numerical Recipes'), from 1."""
    state, values = 1, bytearray()
    for _ in range(count):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        values.append(state >> 24)
    return bytes(values)


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def resizes():
    sizes = [(1, 1, 1, 1), (1, 1, 7, 5), (7, 5, 1, 1), (1, 40, 1, 9), (40, 1, 9, 1), (40, 1, 9, 8), (33, 17, 33, 17),
             (33, 17, 33, 40), (33, 17, 12, 17), (64, 48, 32, 24), (32, 24, 64, 48), (200, 3, 3, 200), (97, 61, 96, 60)]
    rng = np.random.default_rng(0)
    sizes += [tuple(map(int, rng.integers(1, 100, 4))) for _ in range(150)]
    lines = []
    for width, height, to_width, to_height in sizes:
        image = Image.frombytes("RGB", (width, height), noise(width * height * 3))
        resized = image.resize((to_width, to_height), Image.LANCZOS)
        lines.append(f"{width} {height} {to_width} {to_height} {fnv1a(resized.tobytes()):016x}\n")
    (ROOT / "resize.txt").write_text("".join(lines))


if __name__ == "__main__":
    shutil.rmtree(ROOT, ignore_errors=True)
    pictures()
    videos()
    resizes()
