"""Generations for tests: requests of the demo model, and all that comes of one."""

import sys
from dataclasses import dataclass, field

from fleet.process import ROOT

sys.path.insert(0, str(ROOT / "examples" / "python"))

from client import Server, pause_before_retry  # noqa: E402, F401
from stubs import adapter_pb2, generation_pb2  # noqa: E402, F401

PROMPT = "a red circle moving left on a dark background"


@dataclass
class Made:
    """What a generation told. `bytes` are those of its file, latents and frames, in the order of their coming."""

    bytes: bytearray = field(default_factory=bytearray)
    steps: int = 0
    notices: list = field(default_factory=list)
    is_accepted: bool = False
    is_complete: bool = False

    def add(self, response):
        kind = response.WhichOneof("event")
        self.is_accepted = True  # the first event says so
        if kind in ("artifact", "latents", "frames"):
            self.bytes += getattr(response, kind).chunk
        elif kind == "step_completed":
            self.steps += 1
        elif kind == "notice":
            self.notices.append(response.notice.message)
        elif kind == "video_completed":
            self.is_complete = True


def request(prompt=PROMPT, adapters=(), **fields):
    """A small one, unless `fields` say otherwise."""
    small = {"width": 32, "height": 32, "num_frames": 9, "num_inference_steps": 3, "seed": 7, "return_latents": True}
    made = generation_pb2.GenerateVideoRequest(prompt=prompt, **(small | fields))
    for name, scale in adapters:
        made.adapters.add(name=name, scale=scale)
    return made


def make(server, asked, timeout=300, made=None, **options):
    """All that comes of a request, told in `made` as it comes.

    # Raises
    grpc.RpcError, and AssertionError where the stream ended well and early.
    """
    made = made or Made()
    for response in server.generate(asked, timeout, **options):
        made.add(response)
    assert made.is_complete, "expected a completed video at the end of the stream"
    return made
