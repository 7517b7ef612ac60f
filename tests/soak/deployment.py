from contextlib import ExitStack

from fleet.process import ROOT, Service

DEMO = ROOT / "demo"
# Fewer than there are clients, so that some are told to come again.
GENERATIONS = 24
# glibc then gives large blocks back at once, as it does at first: later it keeps some megabytes of them, more or less from
# one second to the next, in which a leak would not be seen.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}


class Deployment:
    """The services by name, such as `denoiser-2`, in the order in which they are restarted; clients call `url`."""

    def __init__(self, folder):
        self.folder, self.ends, self.services = folder, ExitStack(), {}
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        flags = ["--model", DEMO / "model", "--grace-seconds", "60"]
        for name in ("text-encoder-1", "denoiser-1", "denoiser-2", "vae-1", "vae-2"):
            self.add(name, *flags, "--threads", "1")
        addresses = [word for service in ("text-encoder", "denoiser", "vae")
                     for word in (f"--{service}", ",".join(self.urls(service)))]
        more = ["--adapter-dir", DEMO / "adapters", "--max-generations", GENERATIONS]
        self.url = self.add("orchestrator-1", *flags, *more, *addresses).url
        for service in self.services.values():
            service.wait_until_ready()

    def add(self, name, *flags):
        program = f"cogwheel-{name.rsplit('-', 1)[0]}"
        service = Service(program, *flags, folder=self.folder, name=name, environment=ALLOCATOR)
        self.services[name] = self.ends.enter_context(service)
        return service

    def urls(self, service):
        return [found.url for name, found in self.services.items() if name.rsplit("-", 1)[0] == service]

    def stop(self):
        self.ends.close()
