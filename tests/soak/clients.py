"""Clients that ask on and on, of which some leave early and some have little time, and what became of what they asked."""

import random
import threading
import time
from collections import Counter
from concurrent import futures
from contextlib import closing
from itertools import islice

import grpc

from fleet.generation import Made, Server, make, pause_before_retry, request

ADAPTERS = ([], [("neon", 0.7)], [("bounce", 1.0)], [("trail", 0.5), ("bounce", -0.4)])
# Longer than anything may take here: who waits so long is a failure.
SECONDS = 120
# What a server may say that does not take a request: it is not there, full, or would not be in time.
REFUSALS = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


class Twins:
    """Requests, and what each gives when nobody else is there."""

    def __init__(self, url):
        self.requests = [request(adapters=adapters, seed=seed, num_inference_steps=4, **size)
                         for adapters in ADAPTERS for seed in (1, 2) for size in ({}, {"width": 48, "num_frames": 17})]
        with Server(url) as server:
            self.made = [make(server, asked).bytes for asked in self.requests]
        assert len(set(map(bytes, self.made))) == len(self.made), "expected another video of each request"


class Clients:
    """A request counts as accepted when its client has read the event `accepted`, or later ones.

    From then on it ends with the whole video, or with what its own client did: it left, or stated a deadline that has
    passed. Before that the server may refuse it, or not be there: a client asks again, as long as it has time. All else
    is a failure.
    """

    def __init__(self, url, twins, count):
        self.url, self.twins = url, twins
        self.ended, self.refusals, self.failures = Counter(), Counter(), []
        self.is_over, self.count = threading.Event(), count
        self.pool = futures.ThreadPoolExecutor(count)

    def __enter__(self):
        self.running = [self.pool.submit(self.ask_on, number) for number in range(self.count)]
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.pool.shutdown()
        self.failures += [f"a client ended: {error!r}" for client in self.running if (error := client.exception())]

    def ask_on(self, number):
        chance = random.Random(number)
        with Server(self.url) as server:
            while not self.is_over.is_set():
                index = chance.randrange(len(self.twins.requests))
                ways = [self.wait, self.leave, self.hurry]
                way, = chance.choices(ways, weights=[7, 2, 1])
                try:
                    outcome = way(server, index, chance)
                except Exception as error:
                    is_status = isinstance(error, grpc.RpcError)
                    outcome = f"{error.code().name}: {error.details()}" if is_status else repr(error)
                    self.failures.append(f"client {number}, {way.__name__}, request {index}: {outcome}")
                self.ended[outcome] += 1

    def refused(self, error, pause):
        assert error.code() in REFUSALS, f"expected a refusal, found {error.code().name}: {error.details()}"
        told = "told to" if pause_before_retry(error, False) else "by itself"
        self.refusals[f"{error.code().name}, asked again {told}"] += 1

    def wait(self, server, index, chance, timeout=SECONDS, made=None):
        """Until the whole video is there."""
        made = make(server, self.twins.requests[index], timeout, made, patience=SECONDS, refused=self.refused)
        assert made.bytes == self.twins.made[index], "expected the video that was made alone"
        return "made"

    def leave(self, server, index, chance):
        """After some events."""
        asked, events = self.twins.requests[index], chance.randrange(1, 8)
        with closing(server.generate(asked, SECONDS, SECONDS, self.refused)) as responses:
            read = sum(1 for _ in islice(responses, events))
        assert read == events, f"expected {events} events at the least, found {read}"
        return "left"

    def hurry(self, server, index, chance):
        """With little time, which may do or not."""
        timeout, start, made = chance.uniform(0.05, 2.0), time.monotonic(), Made()
        try:
            return self.wait(server, index, chance, timeout, made)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - start >= timeout * 0.9:
                return "past its deadline"
            if not made.is_accepted and error.code() in REFUSALS:
                return "refused, and out of time"
            raise
