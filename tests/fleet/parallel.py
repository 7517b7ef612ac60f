from concurrent import futures


class Parallel:
    """Calls that run side by side; all have ended at the end of the `with`."""

    def __init__(self, most=64):
        self.pool, self.running = futures.ThreadPoolExecutor(most), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    def start(self, call, *arguments, **options):
        self.running.append(self.pool.submit(call, *arguments, **options))

    def results(self):
        """Those of all calls, in the order of their starts.

        # Raises
        What the first one of them raised.
        """
        return [running.result() for running in self.running]
