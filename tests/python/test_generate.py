"""examples/python/generate.py against a server of the demo model."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fleet.process import PATIENCE_SECONDS, PROGRAMS, ROOT, Service

GENERATE = [sys.executable, str(ROOT / "examples" / "python" / "generate.py")]
SMALL = ["--width", "32", "--height", "32", "--num-frames", "9", "--num-inference-steps", "3", "--seed", "7"]
PROMPT = ["--prompt", "a red circle moving left on a dark background"]
ENDLESS = ["--num-inference-steps", "1000"]


class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        demo = ROOT / "demo"
        flags = ["--model", demo / "model", "--adapter-dir", demo / "adapters", "--threads", "1"]
        cls.server = Service("cogwheel serve", *flags, folder=cls.folder)
        cls.addClassCleanup(cls.server.kill)
        cls.server.wait_until_ready()

    def start(self, *arguments, **options):
        """Killed where it does not end in time, and so whoever reads from it waits no longer."""
        command = [*GENERATE, "--endpoint", self.server.url, *map(str, arguments)]
        # As in a terminal, also where this test runs in a shell's background, which ignores Ctrl-C for it.
        heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        options = {"stderr": subprocess.PIPE, "preexec_fn": heed, **options}
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **options)
        limit = threading.Timer(PATIENCE_SECONDS, process.kill)
        limit.start()
        for cleanup in (process.wait, process.kill, limit.cancel):
            self.addCleanup(cleanup)
        return process

    def run_to_end(self, *arguments):
        process = self.start(*arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    def make(self, name, *arguments):
        output = self.folder / name
        code, _, err = self.run_to_end(*PROMPT, *SMALL, "--output", output, *arguments)
        self.assertEqual(code, 0, err)
        return output.read_bytes()

    def test_adapters_are_listed(self):
        code, out, err = self.run_to_end("--list-adapters")
        self.assertEqual(code, 0, err)
        self.assertEqual([line.split()[0] for line in out.splitlines()], ["bounce", "neon", "trail"])

    def test_the_file_is_the_one_that_the_command_line_makes(self):
        adapters = ["--adapter", "neon=0.8", "--adapter", "bounce"]
        made = self.make("python.mp4", *adapters)
        output = self.folder / "cli.mp4"
        command = [PROGRAMS / "cogwheel", "generate", "--endpoint", self.server.url, "--output", output]
        subprocess.run([*command, *PROMPT, *SMALL, *adapters], check=True, capture_output=True,
                       timeout=PATIENCE_SECONDS)
        self.assertEqual(made[4:8], b"ftyp")
        self.assertEqual(made, output.read_bytes())
        self.assertNotEqual(made, self.make("alone.mp4"))
        self.assertNotEqual(made, self.make("seed.mp4", *adapters, "--seed", "8"))

    def test_a_terminal_gets_a_bar_and_a_file_lines(self):
        output = self.folder / "bar.mp4"
        code, out, err = self.run_to_end(*PROMPT, *SMALL, "--output", output)
        self.assertEqual((code, out), (0, f"{output}\n"), err)
        self.assertIn("accepted: 9 frames of 32x32, 3 steps, seed 7\n", err)
        self.assertNotIn("\r", err)
        terminal, its_end = os.openpty()
        self.addCleanup(os.close, terminal)
        process = self.start(*PROMPT, *SMALL, "--output", output, stderr=its_end)
        os.close(its_end)
        shown = b""
        try:
            while piece := os.read(terminal, 4096):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        process.communicate()
        self.assertEqual(process.returncode, 0)
        for part in (b"[##########--------------------] step 1 of 3", b"step 3 of 3", b"frame 9 of 9"):
            self.assertIn(part, shown)

    def test_ctrl_c_stops_the_work_and_leaves_no_file(self):
        output = self.folder / "interrupted.mp4"
        before = self.callers_that_left()
        process = self.start(*PROMPT, *ENDLESS, "--output", output)
        self.assertTrue(process.stderr.readline().startswith("accepted"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual([file.name for file in self.folder.iterdir() if "interrupted" in file.name], [])
        self.server.wait_for(lambda: self.callers_that_left() > before, "a line of the log that tells of it")
        self.make("afterwards.mp4")

    def callers_that_left(self):
        return self.server.text().count("the caller left")

    def test_a_deadline_ends_it(self):
        start = time.monotonic()
        code, _, err = self.run_to_end(*PROMPT, *ENDLESS, "--timeout", 1)
        self.assertEqual(code, 1)
        self.assertIn("error: DEADLINE_EXCEEDED", err)
        self.assertLess(time.monotonic() - start, 30)

    def test_what_is_wrong_is_said_in_one_line(self):
        self.assert_error(2, "INVALID_ARGUMENT: width:", *PROMPT, "--width", 100)
        self.assert_error(2, "found 'unknown'", *PROMPT, "--adapter", "unknown")
        self.assert_error(1, "UNAVAILABLE: ", *PROMPT, "--endpoint", "http://127.0.0.1:1")
        self.assert_error(2, "expected http://HOST:PORT", *PROMPT, "--endpoint", "here")
        self.assert_error(2, "no such", *PROMPT, "--token-file", self.folder / "none")
        code, _, err = self.run_to_end(*PROMPT, "--output", "panda.avi")
        self.assertEqual(code, 2)
        self.assertIn("expected a name that ends in .mp4 or .gif, found 'panda.avi'", err)

    def assert_error(self, expected, words, *arguments):
        code, out, err = self.run_to_end("--output", self.folder / "none.mp4", *arguments)
        self.assertEqual((code, out), (expected, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(words.lower(), err.lower())


if __name__ == "__main__":
    unittest.main()
