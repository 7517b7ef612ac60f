import atexit
import json
import os
import pathlib
import signal
import subprocess
import time

import grpc

from fleet.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAMS = TARGET / "debug"
# None needs so long, whatever else the machine does.
PATIENCE_SECONDS = 120


class Process:
    """A program whose output goes to `log`, and all else beside that; killed at the end of the `with`, where it still runs."""

    def __init__(self, command, log, environment=None):
        self.command, self.log = [str(word) for word in command], log
        # What is killed leaves its temporary files.
        self.environment = os.environ | {"TMPDIR": str(log.parent)} | (environment or {})
        self.start()
        # Also where a test is interrupted before it can say what is to be cleaned up.
        atexit.register(self.kill)

    def start(self):
        """Starts it, or starts it again."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                                            env=self.environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends it as a crash does."""
        self.running.kill()
        self.running.wait()

    def terminate(self):
        """Ends it as Kubernetes does; gives the exit code."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(PATIENCE_SECONDS)

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, holds, what):
        """Waits until `holds()` of this process is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := holds()):
            if self.running.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"expected {what}, found none; the log:\n{self.text()[-4000:]}")
            time.sleep(0.05)
        return found

    def resident_bytes(self):
        """Memory that it holds now; None where it has ended. On Linux alone."""
        try:
            status = pathlib.Path(f"/proc/{self.running.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        held = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(held[0].split()[1]) * 1024 if held else None


class Service(Process):
    """A service of the project on a port of its own, which it keeps when it is started again."""

    def __init__(self, program, *arguments, folder, name=None, environment=None):
        self.name, self.port = name or program, free_port()
        flags = ["--listen", f"127.0.0.1:{self.port}", "--log-format", "json"]
        # A program and a word, such as `cogwheel serve`, are one program here.
        super().__init__([PROGRAMS / program.split()[0], *program.split()[1:], *flags, *arguments],
                         folder / f"{self.name}.log", environment)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def wait_until_ready(self, credentials=None):
        options = [("grpc.max_reconnect_backoff_ms", 100)]
        open_one = lambda: (grpc.secure_channel(self.address, credentials, options) if credentials
                            else grpc.insecure_channel(self.address, options))
        with open_one() as channel:
            self.wait_for(lambda: is_serving(channel), f"{self.name} to serve")
        return self

    def entries(self):
        """Its log's lines, each an object."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]


def is_serving(channel):
    """Whether what is at the other end says SERVING of the whole; the messages are so small that they are written here."""
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        return check(b"", timeout=5) == b"\x08\x01"
    except grpc.RpcError:
        return False
