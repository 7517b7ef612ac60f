"""NetworkPolicies: the pods' own, computed; whoever should not reach a port does not, whoever should does."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from manifests import environment, labels, pod

GRPC, ADMIN, LINKERD, OTLP = 50051, 9090, 4143, 4317
CONTROL = {"linkerd": (8080, 8086, 8090), "istio": (15012,)}
PORTS = [("TCP", port) for port in (GRPC, ADMIN, LINKERD, OTLP, 443, 53, 80, 22, *CONTROL["linkerd"], *CONTROL["istio"])]
PORTS.append(("UDP", 53))


@dataclass(frozen=True)
class Peer:
    """A pod, or an address outside the cluster."""
    name: str
    namespace: str = ""
    labels: dict = field(default_factory=dict, hash=False, compare=False)
    namespace_labels: dict = field(default_factory=dict, hash=False, compare=False)
    address: str = ""


def check(render):
    for policy in render.of_kind("NetworkPolicy"):
        for port in ports_of(policy):
            if not isinstance(port, int):
                yield f"NetworkPolicy {policy['metadata']['name']}: expected ports by number, found {port}"
                return
    own = own_pods(render)
    everybody = own + strangers(render)
    for source in everybody:
        for target in everybody:
            if source == target or (source not in own and target not in own):
                continue
            yield from between(render, source, target)


def between(render, source, target):
    policies, wrong = render.of_kind("NetworkPolicy"), {True: [], False: []}
    for protocol, port in PORTS:
        if port == 443 and source.name == "orchestrator" and target.name.startswith("the internet") and enhances(render):
            continue
        found = allowed(policies, render.namespace, source, target, protocol, port)
        if found != expected(render.components, source, target, protocol, port):
            wrong[found].append(f"{protocol} {port}")
    for found, ports in wrong.items():
        if ports:
            words = "expected refused, found allowed" if found else "expected allowed, found refused"
            yield f"NetworkPolicies: {source.name} to {target.name}: {words}: {', '.join(ports)}"


def enhances(render):
    """Whether prompts are written out by an endpoint that may be outside the cluster."""
    container, = pod(render.named("Deployment", "orchestrator"))["containers"]
    return (environment(render, container).get("COGWHEEL_PROMPT_ENHANCER") or "").startswith("https:")


def own_pods(render):
    namespace = render.named("Namespace", render.namespace)["metadata"]["labels"]
    workloads = render.of_kind("Deployment") + render.of_kind("Job")
    return [Peer(item["metadata"]["name"], render.namespace, labels(item), place(render.namespace, namespace)) for item in workloads]


def strangers(render):
    client = {"cogwheel-client": "true"}
    return [
        Peer("a client of another namespace", "web", {}, place("web", client)),
        Peer("a client beside", render.namespace, client, place(render.namespace)),
        Peer("a pod that only says it is a client", "other", client, place("other")),
        Peer("a stranger", "other", {}, place("other")),
        Peer("a stranger beside", render.namespace, {}, place(render.namespace)),
        Peer("prometheus", "monitoring", {}, place("monitoring")),
        Peer("the collector", "observability", {}, place("observability")),
        Peer("dns", "kube-system", {"k8s-app": "kube-dns"}, place("kube-system")),
        Peer("the system", "kube-system", {}, place("kube-system")),
        Peer("linkerd's control plane", "linkerd", {}, place("linkerd")),
        Peer("istiod", "istio-system", {"app": "istiod"}, place("istio-system")),
        Peer("the internet", address="198.51.100.7"),
        Peer("the cloud's metadata", address="169.254.169.254"),
        Peer("a private address", address="10.0.0.1"),
        Peer("the internet by IPv6", address="2001:db8::7"),
        Peer("the cloud's metadata by IPv6", address="fd00:ec2::254"),
    ]


def place(name, more=None):
    return {"kubernetes.io/metadata.name": name, **(more or {})}


def expected(components, source, target, protocol, port):
    """What ought to be possible, in words of the services."""
    stages = "text-encoder", "denoiser", "vae"
    own = *stages, "orchestrator"
    calls = {GRPC, LINKERD} if "linkerd" in components else {GRPC}
    if target.name == "dns":
        return port == 53
    if protocol == "UDP":
        return False
    if source.name == "orchestrator" and target.name in stages:
        return port in calls
    if source.name == "a client of another namespace" and target.name == "orchestrator":
        return port in calls
    if source.name == "prometheus" and target.name in own:
        return port == ADMIN and "servicemonitor" in components
    if target.name == "the collector" and source.name in own:
        return port == OTLP and "tracing" in components
    if target.name == "linkerd's control plane":
        return port in CONTROL["linkerd"] and "linkerd" in components
    if target.name == "istiod":
        return port in CONTROL["istio"] and "istio" in components
    return source.name == "pull-model" and target.name.startswith("the internet") and port == 443


def allowed(policies, namespace, source, target, protocol, port):
    """Kubernetes' own rule: a pod that no policy of a direction selects is open in it, else the rules add up."""
    return (passes(policies, namespace, "Egress", "egress", "to", source, target, protocol, port)
            and passes(policies, namespace, "Ingress", "ingress", "from", target, source, protocol, port))


def passes(policies, namespace, direction, rules, peers, pod, other, protocol, port):
    selecting = [policy["spec"] for policy in policies
                 if pod.namespace == namespace and direction in policy["spec"]["policyTypes"]
                 and matches(policy["spec"]["podSelector"], pod.labels)]
    if not selecting:
        return True
    return any(opens(rule.get("ports"), protocol, port) and reaches(rule.get(peers), namespace, other)
               for spec in selecting for rule in spec.get(rules, []))


def opens(ports, protocol, port):
    return not ports or any(item.get("protocol", "TCP") == protocol and item.get("port", port) == port for item in ports)


def reaches(peers, namespace, other):
    return not peers or any(reaches_one(peer, namespace, other) for peer in peers)


def reaches_one(peer, namespace, other):
    if "ipBlock" in peer:
        within = lambda block: other.address and ip_address(other.address) in ip_network(block)
        return bool(within(peer["ipBlock"]["cidr"])) and not any(map(within, peer["ipBlock"].get("except", [])))
    if other.address:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], other.namespace_labels):
            return False
    elif other.namespace != namespace:
        return False
    return matches(peer.get("podSelector", {}), other.labels)


def matches(selector, found):
    if "matchExpressions" in selector:
        raise ValueError(f"expected matchLabels alone, found {selector}")
    return selector.get("matchLabels", {}).items() <= found.items()


def ports_of(policy):
    for rules in ("ingress", "egress"):
        for rule in policy["spec"].get(rules, []):
            yield from (item["port"] for item in rule.get("ports", []))
