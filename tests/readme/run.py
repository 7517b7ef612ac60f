"""Runs every command of README.md that needs no network, GPU, cluster or Docker, in its order, and lists the others.

    make test-readme

A block of `sh` or `python` is run as it stands, one process a block, and must end well; files that it names with `--output`
must be there then. Two marks may stand before a block, as comments that a reader does not see:

    <!-- not run: REASON -->     one of REASONS: the block is listed, not run
    <!-- keeps running -->       a server: started, awaited on its ports, ended at the next heading of second level

Ports 500xx stand for free ones. The commands run in a folder of their own, in which CogVideoX-2b is the demo model,
CogVideoX-5b-I2V a tiny one with random weights, and the adapters that the README names are the demo's; make and cargo run in the repository. grpcurl is a few lines that call buf.
"""

import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
REASONS = ("needs a network", "needs a GPU", "needs a cluster", "needs Docker", "run by .ci/run")
MARKS = ("", "keeps running", "settings")  # the last is for the table of settings
LANGUAGES = ("sh", "python")
SHOWN = ("text", "toml")  # not run
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PACKAGES = ROOT / ".venv" / "readme"
READY_SECONDS, BLOCK_SECONDS = 120, 1800

GRPCURL = """#!/bin/sh
# grpcurl -plaintext [-d JSON] ADDRESS list|METHOD, by buf.
data='{}'
while [ $# -gt 2 ]; do
    case $1 in
        -plaintext) shift ;;
        -d) data=$2; shift 2 ;;
        *) echo "expected -plaintext or -d, found $1" >&2; exit 2 ;;
    esac
done
if [ "$2" = list ]; then exec buf curl --http2-prior-knowledge --protocol grpc --list-services "http://$1"; fi
exec buf curl --http2-prior-knowledge --protocol grpc --data "$data" "http://$1/$2"
"""


@dataclass
class Block:
    line: int
    section: str
    language: str
    mark: str
    text: str


class Wrong(Exception):
    """A README that is not as it should be."""


def blocks(readme):
    """The fenced blocks, each with the comment before it."""
    found, section, mark, fence = [], "", "", None
    for number, line in enumerate(readme.splitlines(), 1):
        if fence is not None:
            if line == "```":
                found.append(fence)
                fence = None
            else:
                fence.text += line + "\n"
        elif line.startswith("```"):
            fence = Block(number, section, line[3:], mark, "")
            mark = ""
        elif comment := re.fullmatch(r"<!-- (.*) -->", line):
            mark = comment[1]
        else:
            if line.startswith("    "):
                raise Wrong(f"line {number}: expected commands in fenced blocks, found an indented line")
            if command := re.search(r"`((?:cogwheel [^\s`]+|grpcurl|cargo|pip|python3) [^`]*)`", line):
                raise Wrong(f"line {number}: expected commands in blocks, where they are run, found `{command[1]}`")
            section = line if line.startswith("## ") else section
            mark = mark if line == "" else ""
    if fence is not None:
        raise Wrong(f"line {fence.line}: expected an end of the block, found none")
    return found


def checked(found):
    for block in found:
        where = f"line {block.line}"
        if block.language not in (*LANGUAGES, *SHOWN):
            raise Wrong(f"{where}: expected a block of {', '.join((*LANGUAGES, *SHOWN))}, found '{block.language}'")
        if not block.mark.startswith("not run: ") and block.mark not in MARKS:
            raise Wrong(f"{where}: expected a mark such as 'keeps running', found '{block.mark}'")
        if block.mark.startswith("not run: ") and not block.mark[9:].startswith(REASONS):
            raise Wrong(f"{where}: expected a reason of {REASONS}, found '{block.mark[9:]}'")
    return found


def free_port():
    """Below those that systems give to connections: one of these could be taken before the server comes to it."""
    for port in random.sample(range(10_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Wrong("expected a free port, found none of 100")


def prepare(folder):
    """Stand-ins for what the README names; a folder with grpcurl."""
    demo = ROOT / "demo"
    shutil.copytree(demo / "model", folder / "CogVideoX-2b")
    shutil.copytree(ROOT / "tests/data/checkpoints/image", folder / "CogVideoX-5b-I2V")
    shutil.copy(ROOT / "tests/data/inputs/pictures/interlaced.png", folder / "panda.png")
    shutil.copytree(demo / "adapters" / "bounce", folder / "dance")
    shutil.copy(demo / "adapters" / "neon" / "pytorch_lora_weights.safetensors", folder / "ink.safetensors")
    shutil.copytree(demo / "adapters", folder / "loras")
    for name in ("demo", "protos"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / ".programs"
    programs.mkdir()
    grpcurl = programs / "grpcurl"
    grpcurl.write_text(GRPCURL)
    grpcurl.chmod(grpcurl.stat().st_mode | stat.S_IXUSR)
    return programs


class Runner:
    def __init__(self, folder):
        path = [str(prepare(folder)), str(TARGET), str(PACKAGES / "bin"), os.environ["PATH"]]
        self.folder, self.ports, self.servers = folder, {}, []
        # What listens by default takes any port.
        self.environment = os.environ | {
            "PATH": os.pathsep.join(path), "PYTHONPATH": str(PACKAGES), "COGWHEEL_LISTEN": "127.0.0.1:0",
        }

    def text(self, block):
        port = lambda found: str(self.ports.setdefault(found[0], free_port()))
        return re.sub(r"\b500\d\d\b", port, block.text)

    def start(self, block, command):
        is_build = re.match(r"(make|cargo) ", block.text)
        return subprocess.Popen(command, cwd=ROOT if is_build else self.folder, env=self.environment, start_new_session=True)

    def run(self, block):
        text = self.text(block)
        if block.mark == "keeps running":
            return self.serve(block, text)
        outputs = [self.folder / output for output in re.findall(r"--output (\S+)", text)]
        before = [made(output) for output in outputs]
        program = [sys.executable, "-c", text] if block.language == "python" else ["sh", "-e", "-c", text]
        process = self.start(block, program)
        try:
            code = process.wait(BLOCK_SECONDS)
        except subprocess.TimeoutExpired:
            kill(process)
            raise Wrong(f"line {block.line}: expected an end within {BLOCK_SECONDS} s")
        if code != 0:
            raise Wrong(f"line {block.line}: expected a good end, found exit code {code} of:\n{text}")
        for output, old in zip(outputs, before):
            if made(output) <= old:
                raise Wrong(f"line {block.line}: expected {output}, found nothing new there")

    def serve(self, block, text):
        process = self.start(block, ["sh", "-c", text])
        self.servers.append(process)
        deadline = time.monotonic() + READY_SECONDS
        for port in {self.ports[port] for port in re.findall(r"--listen \S+:(500\d\d)\b", block.text)}:
            while not answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Wrong(f"line {block.line}: expected a server on its port, found none of:\n{text}")
                time.sleep(0.1)

    def end_servers(self):
        for process in self.servers:
            kill(process)
        self.servers.clear()


def made(path):
    """When what stands under an output's name, or under its numbered names, was last written; 0 where there is nothing."""
    found = [path, *path.parent.glob(f"{path.stem}-*{path.suffix}")]
    return max((file.stat().st_mtime_ns for file in found if file.exists()), default=0)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill(process):
    """Ends a process and what it started; that it has ended is no failure."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(40)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            pass


def main():
    found = checked(blocks((ROOT / "README.md").read_text()))
    skipped = [block for block in found if block.mark.startswith("not run: ")]
    count, section = 0, ""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(pathlib.Path(folder))
        try:
            for block in found:
                if block.section != section:
                    runner.end_servers()
                    section = block.section
                if block.language in LANGUAGES and block not in skipped:
                    print(f"README.md line {block.line}:\n{block.text}", flush=True)
                    runner.run(block)
                    count += 1
        finally:
            runner.end_servers()
    print(f"{count} blocks of README.md run; not run:")
    for block in skipped:
        print(f"  line {block.line}, {block.mark[9:]}: {block.text.splitlines()[0]}")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"error: README.md: {wrong}")
