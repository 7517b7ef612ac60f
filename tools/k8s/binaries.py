"""The services' own say on their settings, where they are built: `--print-config` refuses a value that is none of its kind."""

import functools
import os
import pathlib
import subprocess

from kustomize import ROOT
from manifests import containers, environment, service_of

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PRINT = "--print-config"
# Only on a volume.
FILES = {"COGWHEEL_CONFIG"}


def check(renders):
    """Messages, and the services that were asked."""
    seen, messages, asked = set(), [], set()
    for render in renders:
        for deployment in render.of_kind("Deployment"):
            for container in containers(deployment):
                binary = built(service_of(container))
                # What the cluster alone knows is a number here: a share of the container's limits.
                variables = {name: value if value is not None else "1" for name, value in environment(render, container).items()
                             if name.startswith("COGWHEEL_") and name not in FILES}
                key = (binary, *sorted(variables.items()))
                if binary is None or key in seen:
                    continue
                seen.add(key)
                asked.add(binary.name)
                result = subprocess.run([binary, *container.get("args", []), PRINT], env=variables, capture_output=True, text=True)
                if result.returncode != 0:
                    messages.append(f"{render.name}: {binary.name} {PRINT}: {result.stderr.strip()}")
    return messages, sorted(asked)


@functools.cache
def built(service):
    """The newest binary that knows the option."""
    found = [TARGET / profile / f"cogwheel-{service}" for profile in ("debug", "release")]
    found = sorted((path for path in found if path.is_file()), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    shown = subprocess.run([found[-1], "--help"], capture_output=True, text=True).stdout
    return found[-1] if PRINT in shown else None
