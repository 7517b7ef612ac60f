"""Forty clients, a rolling restart and two crashes: no accepted request fails, every result is its twin's, memory stays flat.

    make soak                       two minutes
    make soak SOAK_SECONDS=20       so many at least; every process is restarted once, and memory watched for 25 seconds after
                                    that, however long it takes
"""

import argparse
import pathlib
import sys
import tempfile
import time

from fleet.generation import Server, make
from soak.clients import Clients, Twins
from soak.deployment import Deployment
from soak.memory import Memory

# Of the whole time: before the first restart, and in which memory is watched, at least.
BEFORE, WATCHED = 0.1, 0.5
# With all processes again before their memory counts, and in which it is watched however short the whole is.
WARM_UP_SECONDS, LEAST_WATCHED_SECONDS = 15, 25


def restart(service):
    """As a rolling update does: ends it, waits for its end, and starts it again where it was."""
    begin = time.monotonic()
    code = service.terminate()
    drained = time.monotonic() - begin
    service.start()
    service.wait_until_ready()
    print(f"  {service.name}: ended with {code} after {drained:.1f} s, ready again {time.monotonic() - begin:.1f} s after its signal",
          flush=True)
    return [] if code == 0 else [f"{service.name}: expected exit code 0 of a drain, found {code}"]


def crash(service):
    """As where a node is lost: nothing is handed back."""
    service.kill()
    service.start()
    service.wait_until_ready()
    print(f"  {service.name}: killed, and ready again", flush=True)


def soak(folder, seconds, count):
    """What went wrong."""
    deployment = Deployment(folder)
    wrong = []
    try:
        twins = Twins(deployment.url)
        print(f"{len(twins.made)} requests made alone; {count} clients come", flush=True)
        begin = time.monotonic()
        with Clients(deployment.url, twins, count) as clients:
            time.sleep(seconds * BEFORE)
            for service in deployment.services.values():
                wrong += restart(service)
            for name in ("denoiser-1", "vae-2"):
                crash(deployment.services[name])
            time.sleep(WARM_UP_SECONDS)
            before = clients.ended["made"]
            with Memory(deployment.services) as memory:
                time.sleep(max(LEAST_WATCHED_SECONDS, seconds * WATCHED, begin + seconds - time.monotonic()))
            watched = clients.ended["made"] - before
        print(f"{time.monotonic() - begin:.0f} s:", ", ".join(f"{ended} {what}" for what, ended in clients.ended.items()))
        print("  refused before:", ", ".join(f"{count} {what}" for what, count in clients.refusals.items()))
        print(f"memory in the last {memory.seconds:.0f} s and {watched} videos:", *memory.described(), sep="\n  ")
        wrong += clients.failures + memory.failures()
        if clients.ended["made"] < count:
            wrong.append(f"expected {count} videos at the least, found {clients.ended['made']}")
        wrong += afterwards(deployment, twins)
    finally:
        deployment.stop()
    return wrong


def afterwards(deployment, twins):
    """What is wrong with those who have nothing to do any more."""
    wrong = []
    with Server(deployment.url) as server:
        for asked, made in zip(twins.requests, twins.made):
            if make(server, asked).bytes != made:
                wrong.append("expected the video that was made before")
    for service in reversed(deployment.services.values()):
        if (code := service.terminate()) != 0:
            wrong.append(f"{service.name}: expected exit code 0, found {code}")
        wrong += [f"{service.name}: {line}" for line in service.text().splitlines() if "panicked" in line]
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = soak(pathlib.Path(folder), given.seconds, given.clients)
    for one in wrong:
        print(f"error: {one}", file=sys.stderr)
    print(f"soak: {0 if wrong else 1} passed, {1 if wrong else 0} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
