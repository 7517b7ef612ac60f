"""Alert rules and dashboard: what Prometheus reads as a plain file, prometheus-operator wants in a resource of its own.

    python3 tools/k8s/observability.py        writes k8s/observability/rules.yaml from alerts.yaml
"""

import yaml

from kustomize import K8S

FOLDER = K8S / "observability"
PLAIN, RESOURCE = FOLDER / "alerts.yaml", FOLDER / "rules.yaml"
HEAD = "# Made from alerts.yaml by `python3 tools/k8s/observability.py`.\n"


def resource():
    groups = yaml.safe_load(PLAIN.read_text())["groups"]
    document = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                "metadata": {"name": "cogwheel"}, "spec": {"groups": groups}}
    return HEAD + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def check():
    if not PLAIN.is_file() or (RESOURCE.is_file() and RESOURCE.read_text() == resource()):
        return []
    return [f"{RESOURCE.name}: expected the rules of {PLAIN.name}: run python3 tools/k8s/observability.py"]


if __name__ == "__main__":
    RESOURCE.write_text(resource())
