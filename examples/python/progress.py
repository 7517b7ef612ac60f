"""What a generation tells, as lines, and as one bar where standard error is a terminal."""

import sys

WIDTH = 30
STAGES = ("a stage", "the text encoder", "the denoiser", "the vae", "the vae")  # as generation.proto numbers them


class Progress:
    def __init__(self, out=sys.stderr):
        self.out, self.has_bar = out, out.isatty()

    def tell(self, response):
        kind = response.WhichOneof("event")
        event = getattr(response, kind) if kind else None
        if kind == "accepted":
            size, sampling = event.size, event.sampling
            adapters = "".join(f", {adapter.name}={adapter.scale:g}" for adapter in event.adapters)
            self.line(f"accepted: {size.num_frames} frames of {size.width}x{size.height}, "
                      f"{sampling.num_inference_steps} steps, seed {sampling.seed}{adapters}")
        elif kind == "notice":
            self.line(f"note: {event.message}")
        elif kind == "queued":
            self.bar(0, 1, f"waiting for {STAGES[event.stage]}, {event.queue_position} before")
        elif kind == "variant_merging":
            self.bar(event.tensors, event.num_tensors, "merging adapters")
        elif kind == "step_completed":
            left = event.seconds * (event.num_steps - event.step)
            self.bar(event.step, event.num_steps, f"step {event.step} of {event.num_steps}, {left:.0f} s left")
        elif kind == "tiles_decoded":
            self.bar(event.tiles, event.num_tiles, f"tile {event.tiles} of {event.num_tiles}")
        elif kind == "frames_decoded":
            self.bar(event.frames, event.num_frames, f"frame {event.frames} of {event.num_frames}")
        elif kind == "video_completed":
            self.line(f"made in {event.seconds:.1f} s")

    def refused(self, error, pause):
        self.line(f"note: asking again in {pause:g} s: {error.details()}")

    def bar(self, done, of, words):
        if self.has_bar:
            filled = WIDTH * done // max(of, 1)
            self.out.write(f"\r\x1b[K[{'#' * filled}{'-' * (WIDTH - filled)}] {words}")
            self.out.flush()

    def line(self, words):
        self.clear()
        print(words, file=self.out)

    def clear(self):
        if self.has_bar:
            self.out.write("\r\x1b[K")
