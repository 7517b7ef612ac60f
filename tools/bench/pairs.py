"""Two processes that do the same work, timed turn by turn.

Each side is a program that prints `ready`, then answers every line `run` with the seconds its
work took. Runs alternate, so that a machine whose speed drifts slows both alike, and the ratio of
the medians is what counts. Peak memory is what the system says of each process.
"""

import dataclasses
import os
import pathlib
import statistics
import subprocess


class Side:
    """One running program."""

    def __init__(self, name, command, threads):
        self.name = name
        self.seconds = []
        limits = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | limits)
        self.expect("ready")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return line.strip()

    def expect(self, word):
        found = self.answer()
        if found != word:
            raise RuntimeError(f"{self.name}: expected '{word}', found '{found}'")

    def run(self):
        seconds = float(self.ask("run"))
        self.seconds.append(seconds)
        return seconds

    def peak_bytes(self):
        """Peak resident memory so far; None where the system does not tell (it does on Linux)."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return None
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@dataclasses.dataclass
class Line:
    """One line of the table."""

    what: str
    ours: float
    theirs: float
    our_peak: int | None
    their_peak: int | None
    error: float | None = None

    @property
    def times_faster(self):
        return self.theirs / self.ours


def compare(what, ours, theirs, pairs, warm_up=1):
    """Runs both sides in turn, the first `warm_up` pairs uncounted."""
    for _ in range(warm_up):
        ours.run()
        theirs.run()
    ours.seconds.clear()
    theirs.seconds.clear()
    for index in range(pairs):
        for side in (ours, theirs) if index % 2 == 0 else (theirs, ours):
            side.run()
    return Line(
        what, statistics.median(ours.seconds), statistics.median(theirs.seconds),
        ours.peak_bytes(), theirs.peak_bytes())


HEAD = f"{'':44}{'cogwheel':>11}{'diffusers':>11}{'faster':>8}{'peak, GiB':>16}{'rel. error':>12}"


def show(line):
    gib = lambda peak: "?" if peak is None else f"{peak / 2**30:.2f}"
    peaks = f"{gib(line.our_peak)} / {gib(line.their_peak)}"
    error = "" if line.error is None else f"{line.error:.1e}"
    return (f"{line.what:44}{line.ours:>10.3f}s{line.theirs:>10.3f}s{line.times_faster:>7.2f}x"
            f"{peaks:>16}{error:>12}")


def relative_error(ours, theirs):
    """Of two files of raw fp32: the norm of the difference to that of theirs."""
    import numpy

    ours, theirs = (numpy.fromfile(path, numpy.float32).astype(numpy.float64) for path in (ours, theirs))
    return numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs)
