"""Brings ONNX Runtime into .runtime/: one pinned wheel from PyPI, its hash checked, its libraries taken out.

    python3 tools/setup_runtime.py                          (needs pip and nothing else; does nothing when it is there)
    python3 tools/setup_runtime.py --provider cuda --folder cuda
"""

import argparse
import hashlib
import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass

VERSION = "1.31.1"
LINUX, MAC = f"libonnxruntime.so.{VERSION}", f"libonnxruntime.{VERSION}.dylib"
# What ONNX Runtime opens beside itself when it is asked for CUDA.
CUDA = "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"


@dataclass(frozen=True)
class Wheel:
    package: str
    tag: str  # pip's name of the platform
    digest: str  # SHA-256
    libraries: tuple[str, ...]  # the stamp is named after the first


# By (provider, system, machine).
WHEELS = {
    ("cpu", "Linux", "x86_64"): Wheel(
        "onnxruntime", "manylinux_2_28_x86_64",
        "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536", (LINUX,)),
    ("cpu", "Linux", "aarch64"): Wheel(
        "onnxruntime", "manylinux_2_28_aarch64",
        "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc", (LINUX,)),
    ("cpu", "Darwin", "arm64"): Wheel(
        "onnxruntime", "macosx_14_0_arm64",
        "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c", (MAC,)),
    ("cuda", "Linux", "x86_64"): Wheel(
        "onnxruntime-gpu", "manylinux_2_28_x86_64",
        "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7", (LINUX, *CUDA)),
}
FOLDER = pathlib.Path(__file__).resolve().parents[1] / ".runtime"


def main():
    parser = argparse.ArgumentParser(description="Brings ONNX Runtime.")
    parser.add_argument("--provider", choices=sorted({key[0] for key in WHEELS}), default="cpu")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="default: .runtime/ of the repository")
    args = parser.parse_args()
    here = args.provider, platform.system(), platform.machine()
    if here not in WHEELS:
        known = ", ".join(" ".join(key) for key in WHEELS)
        sys.exit(f"error: expected one of {known}, found {' '.join(here)}: build or fetch ONNX Runtime {VERSION} "
                 "yourself and name the library in ORT_DYLIB_PATH")
    bring(WHEELS[here], args.folder)


def bring(wheel, folder):
    stamp = folder / f"{wheel.libraries[0]}.wheel-sha256"
    there = all((folder / library).is_file() for library in wheel.libraries)
    if there and stamp.is_file() and stamp.read_text() == wheel.digest:
        return
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with zipfile.ZipFile(download(wheel, pathlib.Path(scratch))) as archive:
            for member in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
                name = "onnxruntime-" + pathlib.PurePosixPath(member).name
                (folder / name).write_bytes(archive.read(member))
            for library in wheel.libraries:
                fresh = pathlib.Path(scratch) / library
                fresh.write_bytes(archive.read(f"onnxruntime/capi/{library}"))
                fresh.replace(folder / library)
    stamp.write_text(wheel.digest)
    print(f"ONNX Runtime {VERSION}: {folder / wheel.libraries[0]}")


def download(wheel, folder):
    # The libraries are the same for every Python; 3.12 is only the wheel that was pinned.
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--platform", wheel.tag,
         "--dest", str(folder), f"{wheel.package}=={VERSION}"], check=True)
    file, = folder.glob("*.whl")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != wheel.digest:
        sys.exit(f"error: {file.name}: expected SHA-256 {wheel.digest}, found {found}")
    return file


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: pip could not download ONNX Runtime (exit code {error.returncode})")
