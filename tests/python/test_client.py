"""How examples/python calls: TLS, tokens, and what is asked again. The server here answers as each test has it."""

import pathlib
import sys
import tempfile
import unittest
from concurrent import futures

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from fleet.certificates import Authority
from fleet.ports import free_port
from fleet.process import ROOT

sys.path.insert(0, str(ROOT / "examples" / "python"))

from client import Server  # noqa: E402
from stubs import generation_pb2, generation_pb2_grpc  # noqa: E402

TOKEN = "secret"


class Scripted(generation_pb2_grpc.GenerationServiceServicer):
    """Refuses as often as it is told to, then answers with one event."""

    def __init__(self, *refusals, cut=False):
        self.refusals, self.cut, self.calls = list(refusals), cut, 0

    def GenerateVideo(self, request, context):
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        self.time_remaining = context.time_remaining()
        if self.refusals:
            context.abort_with_status(self.refusals.pop(0))
        yield generation_pb2.GenerateVideoResponse(accepted=generation_pb2.Accepted())
        if self.cut:
            context.abort_with_status(refusal(code_pb2.UNAVAILABLE, 0.01))


def refusal(code, seconds=None):
    status = status_pb2.Status(code=code, message="not now")
    if seconds is not None:
        detail = any_pb2.Any()
        delay = duration_pb2.Duration(nanos=int(seconds * 1e9))
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status.details.append(detail)
    return rpc_status.to_status(status)


class Client(unittest.TestCase):
    def serve(self, scripted, credentials=None):
        server = grpc.server(futures.ThreadPoolExecutor(4))
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(scripted, server)
        if credentials:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return port

    def generate(self, endpoint, timeout=60, patience=0, **options):
        with Server(endpoint, **options) as server:
            return list(server.generate(generation_pb2.GenerateVideoRequest(), timeout, patience))

    def assert_fails(self, code, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            self.generate(*arguments, **options)
        self.assertEqual(caught.exception.code(), code)

    def test_what_is_refused_for_now_is_asked_again_when_the_server_says(self):
        full, draining = refusal(code_pb2.RESOURCE_EXHAUSTED, 0.1), refusal(code_pb2.UNAVAILABLE, 0.1)
        scripted, told = Scripted(full, draining), []
        with Server(f"http://127.0.0.1:{self.serve(scripted)}") as server:
            tell = lambda error, pause: told.append((error.code(), pause))
            responses = server.generate(generation_pb2.GenerateVideoRequest(), timeout=2, refused=tell)
            self.assertEqual(len(list(responses)), 1)
        self.assertEqual(scripted.calls, 3)
        self.assertEqual(told, [(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.1), (grpc.StatusCode.UNAVAILABLE, 0.1)])
        # A deadline is for all tries together; on the wire it is rounded.
        self.assertLess(scripted.time_remaining, 2 - 0.15)

    def test_what_would_not_help_or_not_be_in_time_is_not_asked_again(self):
        for refused in (refusal(code_pb2.RESOURCE_EXHAUSTED), refusal(code_pb2.INVALID_ARGUMENT)):
            scripted = Scripted(refused)
            self.assert_fails(getattr(grpc.StatusCode, code_pb2.Code.Name(refused.code.value[0])),
                              f"http://127.0.0.1:{self.serve(scripted)}")
            self.assertEqual(scripted.calls, 1)
        scripted = Scripted(refusal(code_pb2.UNAVAILABLE, 0.9))
        self.assert_fails(grpc.StatusCode.UNAVAILABLE, f"http://127.0.0.1:{self.serve(scripted)}", timeout=0.8)
        self.assertEqual(scripted.calls, 1)

    def test_what_was_accepted_is_not_asked_again(self):
        scripted = Scripted(cut=True)
        self.assert_fails(grpc.StatusCode.UNAVAILABLE, f"http://127.0.0.1:{self.serve(scripted)}", patience=60)
        self.assertEqual(scripted.calls, 1)

    def test_a_server_that_is_not_there_is_waited_for_with_patience(self):
        endpoint = f"http://127.0.0.1:{free_port()}"
        self.assert_fails(grpc.StatusCode.UNAVAILABLE, endpoint)
        self.assert_fails(grpc.StatusCode.UNAVAILABLE, endpoint, patience=0.1)

    def test_tls_and_a_token(self):
        with tempfile.TemporaryDirectory() as folder:
            ours, others = (Authority(make(pathlib.Path(folder) / name)) for name in ("ours", "others"))
            cert, key = ours.issue("server")
            pair = (key.read_bytes(), cert.read_bytes())
            scripted = Scripted()
            port = self.serve(scripted, grpc.ssl_server_credentials(
                [pair], root_certificates=ours.ca.read_bytes(), require_client_auth=True))
            cert, key = ours.issue("client")
            endpoint = f"https://localhost:{port}"
            self.generate(endpoint, ca=ours.ca, cert=cert, key=key, token=TOKEN)
            self.assertEqual(scripted.metadata["authorization"], f"Bearer {TOKEN}")
            for options in ({"ca": others.ca, "cert": cert, "key": key}, {"ca": ours.ca}, {}):
                self.assert_fails(grpc.StatusCode.UNAVAILABLE, endpoint, **options)
            self.assertEqual(scripted.calls, 1)

    def test_a_token_is_not_sent_in_the_clear(self):
        with self.assertRaisesRegex(ValueError, "expected https:// for a token"):
            Server("http://video.example:80", token=TOKEN)
        scripted = Scripted()
        self.generate(f"http://127.0.0.1:{self.serve(scripted)}", token=TOKEN)
        self.assertEqual(scripted.metadata["authorization"], f"Bearer {TOKEN}")

    def test_certificates_want_tls(self):
        with self.assertRaisesRegex(ValueError, "expected https:// beside certificates"):
            Server("http://127.0.0.1:1", ca="ca.pem")


def make(folder):
    folder.mkdir()
    return folder


if __name__ == "__main__":
    unittest.main()
