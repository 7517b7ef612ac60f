"""The Dockerfile beside the manifests: a target for each image, run by the user that the pods name."""

import re
import subprocess
import sys

from kustomize import ROOT
from manifests import containers, service_of
from rules.workloads import USER

HADOLINT = ROOT / ".venv" / "k8s" / "bin" / "hadolint"


def check(renders):
    dockerfile = (ROOT / "Dockerfile").read_text()
    used = {service_of(container) for render in renders for kind in ("Deployment", "Job")
            for workload in render.of_kind(kind) for container in containers(workload)}
    return [*targets(dockerfile, used), *lint()]


def targets(dockerfile, used):
    found = dict(re.findall(r'^FROM \S+ AS (\S+)\n(?:(?!FROM).*\n)*?ENTRYPOINT \["(\S+)"\]$', dockerfile, re.M))
    for service in sorted(used):
        binary = f"/usr/local/bin/cogwheel-{service}" if service != "cogwheel" else "/usr/local/bin/cogwheel"
        if found.get(service) != binary:
            yield f"Dockerfile: expected a target {service} with the entrypoint {binary}, found {found.get(service)}"
    users = re.findall(r"^USER (\S+)$", dockerfile, re.M)
    if users != [f"{USER}:{USER}"]:
        yield f"Dockerfile: expected USER {USER}:{USER} once, found {users}"


def lint():
    result = subprocess.run([HADOLINT, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    return (result.stdout + result.stderr).splitlines() if result.returncode else []
