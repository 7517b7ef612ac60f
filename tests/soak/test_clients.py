"""What the soak test's clients count as a failure. The server here gives each request the same end."""

import random
import time
import unittest
from unittest import mock

import grpc

from fleet.generation import generation_pb2
from soak import clients
from soak.clients import Clients


class Status(grpc.RpcError):
    def __init__(self, code):
        self.known = code

    def code(self):
        return self.known

    def details(self):
        return "of the test"

    def trailing_metadata(self):
        return ()


class Scripted:
    """Gives so many events, and then its end: an error, or nothing where a stream ends well."""

    def __init__(self, events=0, end=None):
        self.events, self.end = events, end

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def generate(self, *_, **__):
        for _ in range(self.events):
            yield generation_pb2.GenerateVideoResponse(accepted=generation_pb2.Accepted())
        if self.end:
            raise self.end


class ClientsTest(unittest.TestCase):
    def run_against(self, make_server):
        twins = mock.Mock(requests=["request"], made=[b"video"])
        with mock.patch.object(clients, "Server", make_server), Clients("url", twins, 3) as running:
            deadline = time.monotonic() + 60
            ended = lambda: running.ended or all(client.done() for client in running.running)
            while not ended() and time.monotonic() < deadline:
                time.sleep(0.01)
        return running

    def test_whatever_is_raised_in_a_client_is_a_failure(self):
        for error in (Status(grpc.StatusCode.INTERNAL), ValueError("broken"), KeyError("broken")):
            running = self.run_against(lambda url: Scripted(end=error))
            self.assertEqual(sum(running.ended.values()), len(running.failures))
            self.assertTrue(running.failures)

    def test_a_client_that_cannot_begin_is_a_failure(self):
        running = self.run_against(mock.Mock(side_effect=OSError("no more files")))
        self.assertEqual(running.failures, ["a client ended: OSError('no more files')"] * 3)

    def test_a_stream_that_ends_well_without_its_video_is_a_failure(self):
        alone = Clients("url", mock.Mock(requests=["request"], made=[b"video"]), 1)
        for way in (alone.wait, alone.leave, alone.hurry):
            for events in (0, 1) if way != alone.leave else (0,):
                with self.subTest(way=way.__name__, events=events), self.assertRaises(AssertionError):
                    way(Scripted(events), 0, random.Random(0))

    def test_only_a_server_that_is_away_or_full_or_late_may_refuse(self):
        alone = Clients("url", mock.Mock(requests=["request"], made=[b"video"]), 1)
        hurry = lambda events, code: alone.hurry(Scripted(events, Status(code)), 0, random.Random(0))
        for code in grpc.StatusCode:
            with self.subTest(code=code):
                if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
                            grpc.StatusCode.DEADLINE_EXCEEDED):
                    self.assertEqual(hurry(0, code), "refused, and out of time")
                    alone.refused(Status(code), 1)
                else:
                    self.assertRaises(grpc.RpcError, hurry, 0, code)
                    self.assertRaises(AssertionError, alone.refused, Status(code), 1)
                # What was accepted is not refused any more, and its deadline is far.
                self.assertRaises(grpc.RpcError, hurry, 1, code)


if __name__ == "__main__":
    unittest.main()
