"""Services: gRPC ports only, and pods behind each. Names that stand within other strings."""

import re

from manifests import environment, identity, labels, pod

ADDRESS = re.compile(r"(http|https|dns|dnss)://([a-z-]+):(\d+)")
WHOLE_CLUSTER = "Namespace", "PersistentVolume"
DEFAULT_PATIENCE_SECONDS = 60
STAGES = "COGWHEEL_TEXT_ENCODER", "COGWHEEL_DENOISER", "COGWHEEL_VAE"


def check(render):
    for service in render.of_kind("Service"):
        for message in of_service(render, service):
            yield f"{identity(service)}: {message}"
    for deployment in render.of_kind("Deployment"):
        for message in addresses(render, deployment):
            yield f"{identity(deployment)}: {message}"
    yield from names(render)
    for scaled in render.of_kind("ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]["name"]
        if render.named("Deployment", target) is None:
            yield f"{identity(scaled)}: expected a Deployment {target}"
    for route in render.of_kind("GRPCRoute"):
        for backend in (item for rule in route["spec"]["rules"] for item in rule["backendRefs"]):
            service = render.named("Service", backend["name"])
            if service is None or backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                yield f"{identity(route)}: expected a Service {backend['name']} with port {backend['port']}"
    for monitor in render.of_kind("ServiceMonitor"):
        yield f"{identity(monitor)}: expected a PodMonitor: the admin port is in no Service"


def of_service(render, service):
    spec = service["spec"]
    behind = [item for item in render.of_kind("Deployment") if spec["selector"].items() <= labels(item).items()]
    if len(behind) != 1:
        yield f"expected pods of one Deployment behind it, found {len(behind)}"
        return
    # Headless, it is for the orchestrator, which follows each replica's health; others take who is ready.
    follows = spec.get("clusterIP") == "None"
    if spec.get("publishNotReadyAddresses", False) != follows:
        yield f"publishNotReadyAddresses: expected {str(follows).lower()}"
    container, = pod(behind[0])["containers"]
    encrypted = "COGWHEEL_TLS_CERT" in environment(render, container)
    protocol = "https" if encrypted else "kubernetes.io/h2c"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if len(spec["ports"]) != 1:
        yield f"expected one port, found {len(spec['ports'])}"
    for port in spec["ports"]:
        if port.get("name") != "grpc":
            yield f"expected a port grpc, found {port.get('name')}"
        if port.get("appProtocol") != protocol:
            yield f"appProtocol: expected {protocol}, found {port.get('appProtocol')}"
        target = port.get("targetPort", port["port"])
        if ports.get(target, target) != ports.get("grpc"):
            yield f"targetPort: expected the container's port grpc, found {target}"


def addresses(render, deployment):
    """Where the orchestrator seeks the stages there is a Service of that name, port and kind, for which it has patience."""
    variables = environment(render, pod(deployment)["containers"][0])
    for stage in STAGES:
        if stage not in variables:
            continue
        found = ADDRESS.fullmatch(variables[stage] or "")
        if found is None:
            yield f"{stage}: expected an address, found {variables[stage]}"
            continue
        scheme, host, port = found.groups()
        service = render.named("Service", host)
        if service is None or int(port) not in [item["port"] for item in service["spec"]["ports"]]:
            yield f"{stage}: expected a Service {host} with port {port}"
        elif scheme.startswith("dns") != (service["spec"].get("clusterIP") == "None"):
            yield f"{stage}: expected dns for a headless Service and nothing else, found {variables[stage]}"
        if scheme.endswith("s") and scheme != "dns" and "COGWHEEL_STAGE_CA" not in variables:
            yield f"{stage}: expected COGWHEEL_STAGE_CA with TLS"
        if scheme in ("http", "dns") and "COGWHEEL_STAGE_CA" in variables:
            yield f"{stage}: expected TLS, found {variables[stage]}"
        patience = int(variables.get("COGWHEEL_STAGE_PATIENCE_SECONDS") or DEFAULT_PATIENCE_SECONDS)
        start = start_seconds(render, service) if service else 0
        if patience < start:
            yield f"COGWHEEL_STAGE_PATIENCE_SECONDS: expected at least {start}, in which {host} may start, found {patience}"


def start_seconds(render, service):
    selector = service["spec"]["selector"].items()
    behind = [item for item in render.of_kind("Deployment") if selector <= labels(item).items()]
    return max((item["spec"].get("progressDeadlineSeconds", 600) for item in behind), default=0)


def names(render):
    """The namespace also stands in identities, queries and the names of certificates, where kustomize does not reach."""
    for document in render.documents:
        if document["kind"] not in WHOLE_CLUSTER and document["metadata"].get("namespace") != render.namespace:
            yield f"{identity(document)}: expected namespace {render.namespace}, found {document['metadata'].get('namespace')}"
        for text in strings(document):
            spoken = [*re.findall(r"/ns/([a-z-]+)/", text), *re.findall(r'namespace="([a-z-]+)"', text),
                      *re.findall(r"^orchestrator\.([a-z-]+)", text)]
            for name in spoken:
                if name != render.namespace:
                    yield f"{identity(document)}: expected namespace {render.namespace}, found {name} in '{text}'"
            for account in re.findall(r"/sa/([a-z-]+)", text):
                if render.named("ServiceAccount", account) is None:
                    yield f"{identity(document)}: expected a service account {account}"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
