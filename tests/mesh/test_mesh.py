"""Generations through a mesh of Envoys: the same bytes as without one, balanced, encrypted, and whole when a replica dies."""

import pathlib
import secrets
import tempfile
import time
import unittest

import grpc

from fleet.certificates import Authority
from fleet.generation import Made, Server, adapter_pb2, generation_pb2, make, request
from fleet.parallel import Parallel
from fleet.process import PATIENCE_SECONDS, Service, is_serving
from mesh.large import MEGABYTES, large_adapter, large_pictures
from mesh.mesh import DEMO, Mesh

DENOISE, DECODE = "DenoiserService/Denoise", "VaeService/Decode"
LONG, ENDLESS = {"num_inference_steps": 200}, {"num_inference_steps": 1000, "num_frames": 17, "width": 128, "height": 128}


class MeshTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        flags = ["--model", DEMO / "model", "--adapter-dir", DEMO / "adapters", "--threads", "1"]
        alone = Service("cogwheel serve", *flags, folder=cls.folder, name="alone")
        cls.addClassCleanup(alone.kill)
        cls.mesh = Mesh(cls.folder)
        cls.addClassCleanup(cls.mesh.stop)
        cls.alone, cls.server = Server(alone.wait_until_ready().url), Server(cls.mesh.url)
        for server in (cls.alone, cls.server):
            cls.addClassCleanup(server.channel.close)

    def test_generations_are_those_made_without_a_mesh(self):
        for adapters in ([], [("neon", 0.7)], [("trail", 1.0), ("bounce", -0.4)]):
            self.assert_same(request(adapters=adapters, width=64, height=64, num_frames=17))

    def test_requests_of_one_connection_go_to_all_replicas(self):
        before = self.denoised(), self.decoded()
        with Parallel() as parallel:
            for seed in range(16):
                parallel.start(make, self.server, request(seed=seed, **LONG))
            parallel.results()
        for count, old in zip((self.denoised, self.decoded), before):
            self.until(lambda: sum(count()) == sum(old) + 16, "sixteen calls in the access logs")
            for new, known in zip(count(), old):
                self.assertGreaterEqual(new - known, 2)

    def test_a_sidecar_lets_in_those_who_may_call_its_service_alone(self):
        port = self.mesh.sidecars["denoiser-1"].port
        authority, others = self.mesh.authority, Authority(self.make_folder("others"))
        ca = authority.ca.read_bytes()

        def serves(cert=None, key=None):
            read = lambda path: path and path.read_bytes()
            credentials = grpc.ssl_channel_credentials(ca, read(key), read(cert))
            with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
                return is_serving(channel)

        self.assertTrue(serves(*authority.issue("orchestrator")))
        self.assertFalse(serves(*authority.issue("gateway")))
        self.assertFalse(serves(*others.issue("orchestrator")))
        self.assertFalse(serves())
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            self.assertFalse(is_serving(channel))

    def test_deadline_and_trace_pass_every_hop(self):
        trace = secrets.token_hex(16)
        with self.traced(trace) as server:
            make(server, request(adapters=[("bounce", 1.0)]), timeout=60)
        expected = {
            "gateway": {"GenerateVideo"}, "orchestrator": {"GenerateVideo", "Encode", "Denoise", "Decode"},
            "text-encoder": {"Encode"}, "denoiser": {"Denoise"}, "vae": {"Decode"},
        }
        for service, methods in expected.items():
            calls = lambda: [call for sidecar in self.mesh.replicas(service) for call in sidecar.calls("")
                             if trace in (call["trace"] or "")]
            self.until(lambda: methods <= {call["path"].rsplit("/", 1)[1] for call in calls()}, f"{methods} of {service}")
            for call in calls():
                # gRPC in Python rounds it up to whole seconds.
                self.assertTrue(0 < seconds(call["timeout"]) <= 61, call)

    def test_a_deadline_or_a_client_that_leaves_ends_the_work_behind_it_all(self):
        def past_deadline(server):
            made = Made()
            with self.assertRaises(grpc.RpcError) as caught:
                make(server, request(**ENDLESS), timeout=10, made=made)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            self.assertGreater(made.steps, 0)

        def leave(server):
            responses = server.generate(request(**ENDLESS), timeout=PATIENCE_SECONDS)
            next(response for response in responses if response.WhichOneof("event") == "step_completed")
            responses.close()

        for end in (past_deadline, leave):
            trace = secrets.token_hex(16)
            with self.traced(trace) as server:
                end(server)
            words = ("the caller left", "the deadline passed")
            lines = lambda: "\n".join(replica.text() for replica in self.denoisers()).splitlines()
            self.until(lambda: any(trace in line and any(word in line for word in words) for line in lines()),
                       "a denoiser that tells of the end")

    def test_a_message_of_fifty_megabytes_passes(self):
        pictures = generation_pb2.Pictures(files=large_pictures(17))
        asked = request(num_frames=17, width=64, height=64, video=generation_pb2.InputVideo(pictures=pictures))
        self.assertGreater(asked.ByteSize(), 50 * MEGABYTES)
        self.assert_same(asked)

    def test_a_stream_of_fifty_megabytes_comes_down(self):
        form = generation_pb2.OUTPUT_FORMAT_FRAMES
        size = {"num_frames": 49, "width": 304, "height": 304, "num_inference_steps": 1}
        made = self.assert_same(request(output_format=form, **size))
        self.assertGreater(len(made.bytes), 50 * MEGABYTES)

    def test_an_adapter_of_fifty_megabytes_goes_up_and_to_both_denoisers(self):
        path = self.folder / "large.safetensors"
        large_adapter(DEMO / "adapters" / "neon" / "pytorch_lora_weights.safetensors", path)
        for server in (self.alone, self.server):
            upload(server, "large", path)
        # Which denoiser is asked, is handed the adapter and is asked again, the mesh decides each time anew.
        with Parallel() as parallel:
            for seed in range(8):
                parallel.start(self.assert_same, request(adapters=[("large", 0.9)], seed=seed))
            parallel.results()
        for sidecar in self.mesh.replicas("denoiser"):
            self.until(lambda: any(call["received"] > 50 * MEGABYTES for call in sidecar.calls("PutAdapter")),
                       f"the adapter to have come to {sidecar.name}")

    def test_a_denoiser_that_is_killed_costs_no_generation(self):
        killed, left = self.mesh.services["denoiser-1"], self.mesh.sidecars["denoiser-2"]
        way_out = self.mesh.sidecars["orchestrator-1"]
        ejected = lambda: way_out.count("cluster.denoiser.outlier_detection.ejections_enforced_total")
        ended, ejected_before = len(way_out.calls(DENOISE)), ejected()
        self.addCleanup(self.comes_back, killed)
        made = self.make_while(killed.kill, adapters=[("neon", 1.0)])
        self.assertTrue(any("is done again" in notice for one in made for notice in one.notices),
                        [one.notices for one in made])
        before = len(left.calls(DENOISE))
        for seed in range(6):
            self.assert_same(request(seed=seed))
        self.until(lambda: len(left.calls(DENOISE)) >= before + 6, "six calls of the other denoiser")
        self.until(lambda: ejected() > ejected_before, "an outlier that is ejected")
        # The mesh asks another where nothing had begun, also once it has let the outlier in again.
        calls = lambda: way_out.calls(DENOISE)[ended:]
        retried = lambda: any(call["attempts"] > 1 and call["status"] == 0 for call in calls())
        self.until(lambda: retried() or not self.assert_same(request()), "a call that is made again")
        # What had begun (UR: reset from there) it leaves to the orchestrator.
        cut = [call for call in calls() if "UR" in call["flags"]]
        self.assertTrue(cut, calls())
        self.assertEqual({call["attempts"] for call in cut}, {1}, cut)

    def test_a_denoiser_that_is_restarted_costs_no_generation(self):
        restarted = self.mesh.services["denoiser-2"]
        self.addCleanup(self.comes_back, restarted)
        self.make_while(lambda: self.assertEqual(restarted.terminate(), 0))

    def test_a_stage_without_replicas_is_unavailable_by_its_name_and_comes_back(self):
        for denoiser in self.denoisers():
            self.addCleanup(self.comes_back, denoiser)
            denoiser.kill()
        self.addCleanup(self.until, self.works, "generations again")
        self.addCleanup(lambda: [denoiser.start() for denoiser in self.denoisers()])
        with self.assertRaises(grpc.RpcError) as caught:
            make(self.server, request(), timeout=PATIENCE_SECONDS)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("denoiser", caught.exception.details())
        self.assert_retries_are_few()

    def assert_retries_are_few(self):
        """Of a hundred calls at once that all fail only some are made again, though each might be, twice."""
        way_out = self.mesh.sidecars["orchestrator-1"]
        count = lambda name: way_out.count(f"cluster.denoiser.upstream_rq_{name}")
        before, refused = count("retry"), count("retry_overflow")
        route = next(route for route in self.mesh.routes if route.service == "denoiser")
        with grpc.insecure_channel(f"127.0.0.1:{route.port}") as channel, Parallel(100) as parallel:
            for _ in range(100):
                parallel.start(is_serving, channel)
            self.assertFalse(any(parallel.results()))
        self.assertGreater(count("retry_overflow") - refused, 0)
        self.assertLess(count("retry") - before, 100)

    def comes_back(self, service):
        """Starts it, where it does not run, and waits until the mesh sends work there again."""
        if service.running.poll() is not None:
            service.start()
        service.wait_until_ready()
        sidecar = self.mesh.sidecars[service.name]
        before = len(sidecar.calls(DENOISE))

        def has_work():
            with Parallel() as parallel:
                for seed in range(4):
                    parallel.start(make, self.server, request(seed=seed))
                parallel.results()
            return len(sidecar.calls(DENOISE)) > before

        self.until(has_work, f"work for {service.name}")

    def works(self):
        try:
            return make(self.server, request())
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            return False

    def make_while(self, happens, **fields):
        """Makes eight long videos, and `happens()` when both denoisers are at work; gives what was made."""
        made = [Made() for _ in range(8)]
        with Parallel() as parallel:
            for seed, one in enumerate(made):
                parallel.start(self.assert_same, request(seed=seed, **LONG, **fields), made=one)
            # A denoiser runs one loop at a time.
            self.until(lambda: sum(0 < one.steps < 150 for one in made) >= 2, "work of both denoisers")
            happens()
            return parallel.results()

    def assert_same(self, asked, **options):
        """Makes it with and without the mesh; gives what the mesh made."""
        made = make(self.server, asked, **options)
        self.assertEqual(made.bytes, make(self.alone, asked).bytes, "expected the bytes made without the mesh")
        return made

    def denoisers(self):
        return [self.mesh.services[f"denoiser-{number}"] for number in (1, 2)]

    def denoised(self):
        return [len(sidecar.calls(DENOISE)) for sidecar in self.mesh.replicas("denoiser")]

    def decoded(self):
        return [len(sidecar.calls(DECODE)) for sidecar in self.mesh.replicas("vae")]

    def traced(self, trace):
        server = Server(self.mesh.url)
        server.metadata.append(("traceparent", f"00-{trace}-{secrets.token_hex(8)}-01"))
        return server

    def make_folder(self, name):
        (self.folder / name).mkdir()
        return self.folder / name

    def until(self, holds, what):
        """Waits for what the other side of the mesh does or writes a moment later."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            self.assertLess(time.monotonic(), deadline, f"expected {what}")
            time.sleep(0.05)


def upload(server, name, path):
    def parts():
        data = path.read_bytes()
        header = adapter_pb2.CreateAdapterHeader(name=name, weights_byte_length=len(data))
        yield adapter_pb2.CreateAdapterRequest(header=header)
        for begin in range(0, len(data), MEGABYTES):
            yield adapter_pb2.CreateAdapterRequest(chunk=data[begin:begin + MEGABYTES])

    server.adapter_service.CreateAdapter(parts(), timeout=PATIENCE_SECONDS)


def seconds(timeout):
    """As `grpc-timeout` says it."""
    units = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    return int(timeout[:-1]) * units[timeout[-1]]


if __name__ == "__main__":
    unittest.main()
