"""Rendered manifests, and what is asked of them."""

import re
from dataclasses import dataclass

SETTING = re.compile(r"\$\((\w+)\)")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
         "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
CONTAINER = "cogwheel"


@dataclass(frozen=True)
class Render:
    """The documents of one overlay, with the components that are in it."""
    name: str
    components: frozenset
    documents: list

    def of_kind(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind, name):
        found = [document for document in self.of_kind(kind) if document["metadata"]["name"] == name]
        return found[0] if found else None

    @property
    def namespace(self):
        found = self.of_kind("Namespace")
        return found[0]["metadata"]["name"] if found else None


def identity(document):
    return f"{document['kind']} {document['metadata']['name']}"


def pod(workload):
    return workload["spec"]["template"]["spec"]


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def containers(workload):
    return pod(workload).get("initContainers", []) + pod(workload)["containers"]


def service_of(container):
    """The service that an image holds: `vae` of registry.example.com/cogwheel-vae-cuda:0.1.0."""
    return image_name(container).removeprefix("cogwheel-").removesuffix("-cuda")


def is_for_cuda(container):
    return image_name(container).endswith("-cuda")


def image_name(container):
    return container["image"].rsplit("/", 1)[-1].split("@")[0].split(":")[0]


def environment(render, container):
    """The variables of a container as its process sees them; None for what only the cluster knows."""
    found = {}
    for source in container.get("envFrom", []):
        settings = render.named("ConfigMap", source["configMapRef"]["name"])
        found.update(settings["data"] if settings else {})
    for variable in container.get("env", []):
        value = variable.get("value", "") if "valueFrom" not in variable else None
        # A reference to what was named before is replaced, any other stays as it is.
        found[variable["name"]] = value and SETTING.sub(lambda name: found.get(name[1]) or unset(found, name), value)
    return found


def unset(found, name):
    return "" if name[1] in found else name[0]


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * UNITS[unit]
