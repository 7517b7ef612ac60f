"""The whole in a mesh: orchestrator, text encoder, two denoisers and two vaes, each with a sidecar, and one for clients."""

from contextlib import ExitStack

from fleet.certificates import Authority
from fleet.process import ROOT, Service
from mesh.sidecar import Route, Sidecar

DEMO = ROOT / "demo"
STAGES = {"text-encoder": 1, "denoiser": 2, "vae": 2}


class Mesh:
    """`services` and `sidecars` by name, such as `denoiser-2`; clients call `url`."""

    def __init__(self, folder):
        self.folder, self.ends = folder, ExitStack()
        self.authority = Authority(folder)
        self.services, self.sidecars = {}, {}
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        stage = ["--model", DEMO / "model", "--threads", "1"]
        for service, count in STAGES.items():
            for number in range(1, count + 1):
                self.add(f"{service}-{number}", service, stage, callers=["orchestrator"])
        self.routes = [Route(service, self.ports(service)) for service in STAGES]
        addresses = [word for route in self.routes for word in (f"--{route.service}", route.url)]
        flags = ["--model", DEMO / "model", "--adapter-dir", DEMO / "adapters", *addresses]
        # A test waits until a whole stage is given up.
        limits = ["--max-generations", "64", "--stage-patience-seconds", "10"]
        self.add("orchestrator-1", "orchestrator", flags + limits, callers=["gateway"], routes=self.routes)
        way_in = Route("orchestrator", self.ports("orchestrator"))
        self.sidecars["gateway"] = self.ends.enter_context(
            Sidecar("gateway", "gateway", self.authority, self.folder, routes=[way_in]))
        self.url = way_in.url
        for process in [*self.sidecars.values(), *self.services.values()]:
            process.wait_until_ready()

    def add(self, name, service, flags, **traffic):
        process = Service(f"cogwheel-{service}", *flags, folder=self.folder, name=name)
        self.services[name] = self.ends.enter_context(process)
        sidecar = Sidecar(name, service, self.authority, self.folder, local=process.port, **traffic)
        self.sidecars[name] = self.ends.enter_context(sidecar)

    def ports(self, service):
        names = [name for name in self.sidecars if name.rsplit("-", 1)[0] == service]
        return [self.sidecars[name].port for name in names]

    def replicas(self, service):
        return [sidecar for sidecar in self.sidecars.values() if sidecar.service == service]

    def stop(self):
        self.ends.close()
