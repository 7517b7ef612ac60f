import statistics
import threading

# What an allocator keeps more or less of from one second to the next.
SLACK_BYTES, SLACK_SHARE = 16 << 20, 0.08


class Memory:
    """Samples of what each process holds, one a second, from the begin to the end of the `with`."""

    def __init__(self, services):
        self.services, self.is_over = services, threading.Event()
        self.samples = {name: [] for name in services}
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def watch(self):
        while not self.is_over.wait(1):
            for name, service in self.services.items():
                self.samples[name].append(service.resident_bytes())

    def change(self):
        """By name: what it held in the first third of the time, and in the last, in the middle of the samples."""
        third = lambda samples: max(1, len(samples) // 3)
        return {name: (statistics.median(samples[:third(samples)]), statistics.median(samples[-third(samples):]))
                for name, samples in self.samples.items()}

    def grown(self):
        """Who holds more in the end than at first."""
        return [f"{name}: expected memory to stay at {first / 2**20:.0f} MiB, found {last / 2**20:.0f}"
                for name, (first, last) in self.change().items()
                if last - first > max(SLACK_BYTES, SLACK_SHARE * first)]
