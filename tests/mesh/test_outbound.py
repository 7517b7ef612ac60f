"""Whom a sidecar calls: who shows the certificate of the service that is called, of the mesh's own authority."""

import pathlib
import tempfile
import unittest
from concurrent import futures

import grpc

from fleet.certificates import Authority
from mesh.sidecar import Route, Sidecar

HEALTH, SERVING = "grpc.health.v1.Health", b"\x08\x01"


class Outbound(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.authority = Authority(self.folder)

    def stage(self, cert, key):
        """The port of one that answers whoever calls."""
        answer = grpc.unary_unary_rpc_method_handler(lambda *_: SERVING)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(HEALTH, {"Check": answer})])
        port = server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return port

    def call(self, cert, key):
        """What the orchestrator gets who calls the denoiser and comes to one with this certificate, and its sidecar."""
        route = Route("denoiser", [self.stage(cert, key)])
        sidecar = Sidecar("orchestrator-1", "orchestrator", self.authority, self.folder, routes=[route])
        self.addCleanup(sidecar.kill)
        sidecar.wait_until_ready()
        with grpc.insecure_channel(f"127.0.0.1:{route.port}") as channel:
            try:
                return channel.unary_unary(f"/{HEALTH}/Check")(b"", timeout=30), sidecar
            except grpc.RpcError as error:
                return error.code(), sidecar

    def assert_refused(self, counter, cert, key):
        answer, sidecar = self.call(cert, key)
        self.assertEqual(answer, grpc.StatusCode.UNAVAILABLE)
        self.assertGreater(sidecar.count(f"cluster.denoiser.ssl.{counter}"), 0)

    def test_the_service_of_its_certificate_is_called(self):
        answer, sidecar = self.call(*self.authority.issue("denoiser"))
        self.assertEqual(answer, SERVING)
        self.assertEqual(sidecar.count("cluster.denoiser.ssl.fail_verify_.*"), 0)

    def test_a_stage_of_a_foreign_authority_is_refused(self):
        others = self.folder / "others"
        others.mkdir()
        self.assert_refused("fail_verify_error", *Authority(others).issue("denoiser"))

    def test_a_stage_with_the_certificate_of_another_service_is_refused(self):
        self.assert_refused("fail_verify_san", *self.authority.issue("vae"))


if __name__ == "__main__":
    unittest.main()
