"""Containers: what they may take and do, how they are probed, how they end. Disruption budgets, replicas, accounts."""

from manifests import containers, environment, identity, labels, pod, service_of

USER = 65532
PROBES = "startupProbe", "livenessProbe", "readinessProbe"
# Health services of the admin port; the empty one stands for the whole.
LIVE, READY = "live", ""
EXPECTED_PROBES = {"startupProbe": LIVE, "livenessProbe": LIVE, "readinessProbe": READY}
DEFAULT_GRACE_SECONDS = 30
DEFAULT_DEADLINE_SECONDS = 600
# What a process takes at most once its grace time is over: cut work ends, the last bytes and spans are sent.
END_SECONDS = 10


def check(render):
    for workload in render.of_kind("Deployment") + render.of_kind("Job"):
        for message in (*of_pod(render, workload), *of_containers(workload)):
            yield f"{identity(workload)}: {message}"
    for deployment in render.of_kind("Deployment"):
        for message in (*probes(deployment), *grace(render, deployment), *disruption(render, deployment),
                        *replicas(render, deployment)):
            yield f"{identity(deployment)}: {message}"


def of_pod(render, workload):
    spec = pod(workload)
    context = spec.get("securityContext", {})
    if spec.get("automountServiceAccountToken") is not False:
        yield "expected no token of a service account"
    if spec.get("enableServiceLinks") is not False:
        yield "expected no variables of Services"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != USER:
        yield f"expected user {USER}, not root, found {context}"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "expected seccomp RuntimeDefault"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(host):
            yield f"expected no {host}"
    if workload["kind"] != "Deployment":
        return
    account = render.named("ServiceAccount", spec.get("serviceAccountName", ""))
    if account is None or account["metadata"]["name"] != workload["metadata"]["name"]:
        yield "expected a service account of its own"
    elif account.get("automountServiceAccountToken") is not False:
        yield "expected a service account without a token"


def of_containers(workload):
    for container in containers(workload):
        name = f"container {container['name']}"
        for kind in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                if resource not in container.get("resources", {}).get(kind, {}):
                    yield f"{name}: expected {kind} of {resource}"
        context = container.get("securityContext", {})
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: expected a read-only root"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: expected no privilege escalation"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: expected all capabilities dropped and none added"
        if context.get("privileged") or context.get("runAsUser", USER) != USER or context.get("runAsNonRoot") is False:
            yield f"{name}: expected the pod's user"


def probes(deployment):
    for container in pod(deployment)["containers"]:
        numbers = {port["containerPort"]: port.get("name") for port in container.get("ports", [])}
        for probe in PROBES:
            grpc = container.get(probe, {}).get("grpc")
            if grpc is None:
                yield f"container {container['name']}: expected a {probe} by gRPC"
                continue
            if numbers.get(grpc["port"]) != "admin":
                yield f"{probe}: expected the port admin, found {grpc['port']} ({numbers.get(grpc['port'], 'no port of it')})"
            if grpc.get("service", "") != EXPECTED_PROBES[probe]:
                yield f"{probe}: expected service '{EXPECTED_PROBES[probe]}', found '{grpc.get('service', '')}'"


def grace(render, deployment):
    """The kubelet kills after terminationGracePeriodSeconds, which begin with preStop."""
    for container in pod(deployment)["containers"]:
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
        if sleep is None:
            yield f"container {container['name']}: expected a sleep as preStop"
            continue
        drain = int(environment(render, container).get("COGWHEEL_GRACE_SECONDS") or DEFAULT_GRACE_SECONDS)
        whole = pod(deployment).get("terminationGracePeriodSeconds", 30)
        if whole < sleep + drain + END_SECONDS:
            yield f"terminationGracePeriodSeconds: expected at least {sleep} + {drain} + {END_SECONDS}, found {whole}"
        deadline = deployment["spec"].get("progressDeadlineSeconds", DEFAULT_DEADLINE_SECONDS)
        if deployment["spec"].get("strategy", {}).get("type") == "Recreate" and deadline <= whole:
            yield f"progressDeadlineSeconds: expected more than {whole}, in which the old pod ends, found {deadline}"


def disruption(render, deployment):
    selecting = [budget for budget in render.of_kind("PodDisruptionBudget") if selects(budget, deployment)]
    if len(selecting) != 1:
        yield f"expected one PodDisruptionBudget, found {len(selecting)}"
    elif selecting[0]["spec"].get("maxUnavailable") != 1:
        yield "expected a PodDisruptionBudget of maxUnavailable 1, which one replica does not keep a node from being drained by"


def selects(budget, deployment):
    return budget["spec"]["selector"]["matchLabels"].items() <= labels(deployment).items()


def replicas(render, deployment):
    """Either the manifest or KEDA says how many there are; of the orchestrator, one."""
    name = deployment["metadata"]["name"]
    scaled = [item for item in render.of_kind("ScaledObject") if item["spec"]["scaleTargetRef"]["name"] == name]
    stated = deployment["spec"].get("replicas")
    if scaled and stated is not None:
        yield "expected no replicas beside a ScaledObject, which an apply would set back"
    if not scaled and stated is None:
        yield "expected replicas"
    if service_of(pod(deployment)["containers"][0]) == "orchestrator" and stated != 1:
        yield f"expected one replica, which owns the adapters' names, found {stated}"
