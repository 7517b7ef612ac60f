"""What the soak test takes for growing memory, and what for flat."""

import pathlib
import random
import tempfile
import time
import unittest
from unittest import mock

from fleet.process import Process
from soak.memory import MIB, Memory, judge

SECONDS = (20, 60, 100)


def held(seconds, leak=0.0, seed=7):
    """Ten samples a second of a process as they are: of noise, buffers that come and go, one leap, and what leaks, in MiB a second."""
    chance, samples = random.Random(seed), []
    for tenth in range(seconds * 10):
        at = tenth / 10
        leap = 5 if at > seconds / 6 else 0
        buffers = 6 * chance.choice((0, 0, 1, 2))
        samples.append((at, int((48 + chance.gauss(0, 0.3) + leap + buffers + leak * at) * MIB)))
    return samples


class Judge(unittest.TestCase):
    def test_memory_that_comes_and_goes_is_flat(self):
        for seconds in SECONDS:
            for seed in range(10):
                self.assertIsNone(judge(held(seconds, seed=seed), seconds))

    def test_a_leak_of_a_fifth_of_a_mebibyte_a_second_is_not(self):
        for seconds in SECONDS:
            for seed in range(10):
                self.assertIn("expected at most 6 MiB more a minute", judge(held(seconds, 0.2, seed), seconds))

    def test_memory_that_is_given_back_is_no_leak(self):
        self.assertIsNone(judge(held(60, -0.2), 60))

    def test_who_was_not_seen_is_not_flat(self):
        for samples in ([], held(60)[:1], held(60)[:250]):
            self.assertIn("expected samples in 60 seconds", judge(samples, 60))


class Watch(unittest.TestCase):
    def watch(self, service, until):
        deadline = time.monotonic() + 60
        with Memory({"service": service}) as memory:
            while not until(memory) and time.monotonic() < deadline:
                time.sleep(0.01)
        return memory

    def test_what_breaks_the_watch_is_a_failure(self):
        broken = mock.Mock(resident_bytes=mock.Mock(side_effect=ValueError("no number")))
        memory = self.watch(broken, lambda memory: memory.watching.done())
        self.assertIn("expected memory to be watched to the end, found ValueError('no number')", memory.failures())

    def test_a_process_that_is_being_restarted_is_passed_over(self):
        restarted = mock.Mock(resident_bytes=mock.Mock(side_effect=[None, 1, None, *[2] * 10_000]))
        memory = self.watch(restarted, lambda memory: len(memory.samples["service"]) > 2)
        self.assertIsNone(memory.watching.exception())
        self.assertEqual([held for _, held in memory.samples["service"]][:3], [1, 2, 2])

    def test_a_process_that_has_ended_holds_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            with Process(["sleep", "600"], pathlib.Path(folder) / "log") as process:
                self.assertGreater(process.resident_bytes(), 0)
                process.running.kill()
                # It stays in /proc, without memory, until it is waited for.
                deadline = time.monotonic() + 60
                while process.resident_bytes() is not None and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertIsNone(process.resident_bytes())
                process.kill()
                self.assertIsNone(process.resident_bytes())


if __name__ == "__main__":
    unittest.main()
