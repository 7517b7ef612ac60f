"""Metrics: each that a query names is one that docs/METRICS.md lists, which a test of the binaries holds to them."""

import re

from manifests import identity
from rules.services import strings

METRIC = re.compile(r"\bcogwheel_[a-z0-9_]+")
KINDS = "ScaledObject", "PrometheusRule", "ConfigMap"
# What Prometheus adds to a histogram's name.
ENDINGS = re.compile(r"_(bucket|sum|count)$")


def read(page):
    """Names of the table under the mark `<!-- metrics -->`."""
    if not page.is_file():
        raise ValueError(f"{page}: expected the table of metrics, found no file")
    _, _, text = page.read_text().partition("<!-- metrics -->")
    found = set(re.findall(r"^\| `(cogwheel_[a-z0-9_]+)", text, re.M))
    if not found:
        raise ValueError(f"{page}: expected a table of metrics, found none")
    return found


def check(render, table):
    for kind in KINDS:
        for document in render.of_kind(kind):
            named = {name for text in strings(document) for name in METRIC.findall(text)}
            for name in sorted(named):
                if name not in table and ENDINGS.sub("", name) not in table:
                    yield f"{identity(document)}: {name}: expected a metric of docs/METRICS.md"
