"""examples/python/generate.py against a server that wants TLS, a certificate and a token."""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import unittest

import grpc

from fleet.certificates import Authority
from fleet.process import PATIENCE_SECONDS, ROOT, Service

GENERATE = [sys.executable, str(ROOT / "examples" / "python" / "generate.py")]
SMALL = ["--prompt", "a red circle", "--width", "32", "--height", "32", "--num-frames", "9", "--num-inference-steps", "2"]
TOKEN = "a token of this test"


class Secured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.authority = Authority(cls.folder)
        cert, key = cls.authority.issue("server")
        settings = cls.folder / "settings.toml"
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        settings.write_text(f'[[tokens]]\nname = "test"\nsha256 = "{digest}"\nroles = ["generate"]\n')
        cls.server = Service(
            "cogwheel serve", "--model", ROOT / "demo" / "model", "--threads", "1", "--config", settings, "--tls-cert", cert,
            "--tls-key", key, "--tls-client-ca", cls.authority.ca, folder=cls.folder)
        cls.addClassCleanup(cls.server.kill)
        own_cert, own_key = cls.authority.issue("client")
        cls.server.wait_until_ready(grpc.ssl_channel_credentials(
            cls.authority.ca.read_bytes(), own_key.read_bytes(), own_cert.read_bytes()))
        cls.known = ["--ca", cls.authority.ca, "--cert", own_cert, "--key", own_key]

    def generate(self, *arguments, endpoint=None):
        output = self.folder / "video.mp4"
        output.unlink(missing_ok=True)
        endpoint = endpoint or f"https://{self.server.address}"
        command = [*GENERATE, "--endpoint", endpoint, *SMALL, "--output", output, *arguments]
        ended = subprocess.run(list(map(str, command)), text=True, capture_output=True, timeout=PATIENCE_SECONDS)
        return ended.returncode, ended.stderr, output.exists()

    def token(self, text):
        file = self.folder / f"token-{len(text)}"
        file.write_text(text + "\n")
        return ["--token-file", file]

    def test_who_shows_certificate_and_token_gets_a_video(self):
        code, err, is_there = self.generate(*self.known, *self.token(TOKEN))
        self.assertEqual((code, is_there), (0, True), err)

    def test_whoever_lacks_one_of_them_gets_none_and_is_told(self):
        foreign = self.folder / "foreign"
        foreign.mkdir()
        strange = ["--ca", self.authority.ca, *flags_of(Authority(foreign).issue("client"))]
        for arguments, words in (
            (self.known, "UNAUTHENTICATED"),
            ([*self.known, *self.token("another")], "UNAUTHENTICATED"),
            (["--ca", self.authority.ca, *self.token(TOKEN)], "UNAVAILABLE"),
            ([*strange, *self.token(TOKEN)], "UNAVAILABLE"),
        ):
            with self.subTest(arguments):
                code, err, is_there = self.generate(*arguments)
                self.assertEqual((code, is_there), (1, False), err)
                self.assertIn(words, err)

    def test_a_token_is_not_sent_in_the_clear_to_another_machine(self):
        code, err, _ = self.generate(*self.token(TOKEN), endpoint="http://192.0.2.1:50051")
        self.assertEqual(code, 2)
        self.assertIn("expected https://", err)


def flags_of(pair):
    return ["--cert", pair[0], "--key", pair[1]]


if __name__ == "__main__":
    unittest.main()
