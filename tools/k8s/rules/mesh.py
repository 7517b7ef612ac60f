"""Istio's retries, budget and outliers are those that tests/mesh proves."""

import re

from manifests import identity

HTTP_RETRIES = {"attempts": r'"num_retries": (\d+)', "retryOn": r'"retry_on": "([^"]+)"'}
BUDGET = {"percent": r'"budget_percent": {"value": (\d+)}', "minRetryConcurrency": r'"min_retry_concurrency": (\d+)'}
OUTLIERS = {
    "consecutiveGatewayErrors": r'"consecutive_gateway_failure": (\d+)', "consecutive5xxErrors": r'"consecutive_5xx": (\d+)',
    "maxEjectionPercent": r'"max_ejection_percent": (\d+)',
}


def read(sidecar):
    """What the sidecars of the test set, in Istio's words."""
    text = sidecar.read_text()
    found = {name: re.search(pattern, text) for name, pattern in {**HTTP_RETRIES, **BUDGET, **OUTLIERS}.items()}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise ValueError(f"{sidecar}: expected what {', '.join(missing)} stands for, found none")
    return {name: int(match[1]) if match[1].isdigit() else match[1] for name, match in found.items()}


def check(render, proven):
    for route in render.of_kind("VirtualService"):
        for rule in route["spec"]["http"]:
            yield from differing(route, rule.get("retries", {}), HTTP_RETRIES, proven)
    for target in render.of_kind("DestinationRule"):
        policy = target["spec"]["trafficPolicy"]
        yield from differing(target, policy.get("retryBudget", {}), BUDGET, proven)
        if "loadBalancer" in policy:
            yield from differing(target, policy.get("outlierDetection", {}), OUTLIERS, proven)


def differing(document, found, names, proven):
    for name in names:
        if found.get(name) != proven[name]:
            yield f"{identity(document)}: {name}: expected {proven[name]} as in tests/mesh/sidecar.py, found {found.get(name)}"
