"""What each process holds while it is at work, and whether that grows."""

import statistics
import threading
import time
from concurrent import futures
from itertools import combinations

MIB = 1 << 20
PAUSE_SECONDS = 0.1
# MiB a minute. Processes that keep nothing were seen at 3.1 at the most in 25 seconds, and at 1.4 in 60 and more.
MOST_GROWTH = 6
# Share of the seconds of which there must be a sample: who is not there cannot be said to be flat.
SEEN = 0.5


class Memory:
    """Samples of what each process holds, from the begin to the end of the `with`."""

    def __init__(self, services):
        self.services, self.is_over = services, threading.Event()
        self.samples = {name: [] for name in services}
        self.pool = futures.ThreadPoolExecutor(1)

    def __enter__(self):
        self.begin = time.monotonic()
        self.watching = self.pool.submit(self.watch)
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.pool.shutdown()
        self.seconds = time.monotonic() - self.begin

    def watch(self):
        while not self.is_over.wait(PAUSE_SECONDS):
            for name, service in self.services.items():
                held = service.resident_bytes()
                if held is not None:  # it is there, and not between its end and its next start
                    self.samples[name].append((time.monotonic() - self.begin, held))

    def described(self):
        return [f"{name}: {describe(samples)}" for name, samples in self.samples.items() if samples]

    def failures(self):
        """Who holds more and more, or was not seen."""
        error = self.watching.exception()
        broken = [f"expected memory to be watched to the end, found {error!r}"] if error else []
        judged = {name: judge(samples, self.seconds) for name, samples in self.samples.items()}
        return broken + [f"{name}: {wrong}" for name, wrong in judged.items() if wrong]


def floors(samples):
    """The least of each second: what stays, without what comes and goes with each generation."""
    least = {}
    for at, held in samples:
        second = int(at)
        least[second] = min(held, least.get(second, held))
    return sorted(least.items())


def growth(samples):
    """MiB a minute: the median slope between any two seconds, which no single leap or dip moves (Theil and Sen)."""
    slopes = [(later - held) / (then - at) for (at, held), (then, later) in combinations(floors(samples), 2)]
    return statistics.median(slopes) * 60 / MIB


def describe(samples):
    known = floors(samples)
    more = f", {growth(samples):+.2f} MiB a minute" if len(known) > 1 else ""
    return f"{known[0][1] / MIB:.1f} MiB at first, {known[-1][1] / MIB:.1f} in the end{more}"


def judge(samples, seconds):
    """What is wrong with the samples of so many seconds; nothing where memory is flat."""
    seen = len(floors(samples))
    if seen < max(2, SEEN * seconds):
        return f"expected samples in {seconds:.0f} seconds, found some in {seen}"
    if growth(samples) > MOST_GROWTH:
        return f"expected at most {MOST_GROWTH} MiB more a minute, found {describe(samples)}"
    return None
