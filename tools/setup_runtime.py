"""Brings ONNX Runtime into .runtime/: one pinned wheel from PyPI, its hash checked, one library taken out.

    python3 tools/setup_runtime.py            (needs pip and nothing else; does nothing when it is there)
"""

import hashlib
import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile

VERSION = "1.31.1"
LINUX, MAC = f"libonnxruntime.so.{VERSION}", f"libonnxruntime.{VERSION}.dylib"
# (system, machine): (pip's platform tag, SHA-256 of the wheel, library in it)
WHEELS = {
    ("Linux", "x86_64"): (
        "manylinux_2_28_x86_64", "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536", LINUX),
    ("Linux", "aarch64"): (
        "manylinux_2_28_aarch64", "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc", LINUX),
    ("Darwin", "arm64"): (
        "macosx_14_0_arm64", "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c", MAC),
}
FOLDER = pathlib.Path(__file__).resolve().parents[1] / ".runtime"


def main():
    here = platform.system(), platform.machine()
    if here not in WHEELS:
        known = ", ".join(" ".join(key) for key in WHEELS)
        sys.exit(f"error: expected one of {known}, found {' '.join(here)}: build or fetch ONNX Runtime {VERSION} "
                 "yourself and name the library in ORT_DYLIB_PATH")
    tag, digest, library = WHEELS[here]
    target = FOLDER / library
    stamp = FOLDER / f"{library}.wheel-sha256"
    if target.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        # The library is the same for every Python; 3.12 is only the wheel that was pinned.
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--platform", tag,
             "--dest", scratch, f"onnxruntime=={VERSION}"], check=True)
        wheel, = pathlib.Path(scratch).glob("onnxruntime-*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != digest:
            sys.exit(f"error: {wheel.name}: expected SHA-256 {digest}, found {found}")
        with zipfile.ZipFile(wheel) as archive:
            for member in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
                name = "onnxruntime-" + pathlib.PurePosixPath(member).name
                (FOLDER / name).write_bytes(archive.read(member))
            fresh = pathlib.Path(scratch) / library
            fresh.write_bytes(archive.read(f"onnxruntime/capi/{library}"))
            fresh.replace(target)
    stamp.write_text(digest)
    print(f"ONNX Runtime {VERSION}: {target}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: pip could not download ONNX Runtime (exit code {error.returncode})")
