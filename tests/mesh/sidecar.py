"""One Envoy beside one process: what comes in is let in by its certificate, what goes out is balanced and encrypted."""

import json
import pathlib
import urllib.request
from dataclasses import dataclass, field

import envoy

from fleet.ports import free_port
from fleet.process import Process

PROGRAM = pathlib.Path(envoy.__file__).parent / "_bin" / "envoy"
HTTP = "type.googleapis.com/envoy.extensions"
ACCESS = {
    "path": "%REQ(:PATH)%", "upstream": "%UPSTREAM_HOST%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "flags": "%RESPONSE_FLAGS%", "status": "%GRPC_STATUS_NUMBER%", "timeout": "%REQ(GRPC-TIMEOUT)%",
    "trace": "%REQ(TRACEPARENT)%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
}

# What an operator of a mesh sets for these services; README.md of this folder says why.
RETRIES = {
    "retry_on": "reset-before-request,unavailable", "num_retries": 2,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    "retry_host_predicate": [{
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {"@type": f"{HTTP}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
    }],
    "host_selection_retry_max_attempts": 3,
}
BUDGET = {"thresholds": [{"retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}}]}
OUTLIERS = {
    "consecutive_gateway_failure": 2, "enforcing_consecutive_gateway_failure": 100, "consecutive_5xx": 5,
    "interval": "1s", "base_ejection_time": "2s", "max_ejection_time": "4s", "max_ejection_percent": 50,
}


@dataclass
class Route:
    """A port of this machine that leads to a service of the mesh, whose replicas' sidecars listen on `ports`."""

    service: str
    ports: list
    port: int = field(default_factory=free_port)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Sidecar(Process):
    """The Envoy of the process `name`, which `service` is the name of in certificates.

    `local` is the port of that process, where it takes calls, `callers` are who may call it, `routes` where it calls.
    """

    def __init__(self, name, service, authority, folder, local=None, callers=(), routes=()):
        self.name, self.service, self.authority = name, service, authority
        self.port, self.admin = free_port(), free_port()
        self.access = folder / f"{name}.access.jsonl"
        listeners = [self.listener(route.port, route.service, {"retry_policy": RETRIES}) for route in routes]
        clusters = [self.cluster(route.service, route.ports, self.outbound(route.service)) for route in routes]
        if local:
            listeners.append(self.listener(self.port, "local", {}, self.inbound(callers)))
            clusters.append(self.cluster("local", [local], {}))
        config = folder / f"{name}.envoy.json"
        config.write_text(json.dumps({
            "node": {"id": name, "cluster": service},
            "admin": {"address": address(self.admin)},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }, indent=1))
        flags = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "50", "--log-level", "warning"]
        super().__init__([PROGRAM, "--config-path", config, *flags], folder / f"{name}.envoy.log")

    def listener(self, port, cluster, action, filter_chain=None):
        # Streams last as long as a generation takes: their ends are the deadlines that the services keep themselves, by
        # the grpc-timeout that travels with each call.
        action = {"cluster": cluster, "timeout": "0s", **action}
        routes = {"virtual_hosts": [{"name": cluster, "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": action}]}]}
        manager = {
            "@type": f"{HTTP}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": cluster, "codec_type": "HTTP2", "stream_idle_timeout": "0s", "route_config": routes,
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": f"{HTTP}.filters.http.router.v3.Router"}}],
            "access_log": [{"name": "envoy.access_loggers.file", "typed_config": {
                "@type": f"{HTTP}.access_loggers.file.v3.FileAccessLog", "path": str(self.access),
                "log_format": {"json_format": ACCESS}}}],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        return {"name": cluster, "address": address(port),
                "filter_chains": [{"filters": filters, **(filter_chain or {})}]}

    def cluster(self, name, ports, more):
        endpoints = [{"endpoint": {"address": address(port)}} for port in ports]
        return {
            "name": name, "type": "STATIC", "connect_timeout": "1s", "lb_policy": "LEAST_REQUEST",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{HTTP}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            **more,
        }

    def outbound(self, service):
        tls = {"@type": f"{HTTP}.transport_sockets.tls.v3.UpstreamTlsContext", "sni": service,
               "common_tls_context": self.identity([service])}
        return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "outlier_detection": OUTLIERS, "circuit_breakers": BUDGET}

    def inbound(self, callers):
        tls = {"@type": f"{HTTP}.transport_sockets.tls.v3.DownstreamTlsContext", "require_client_certificate": True,
               "common_tls_context": self.identity(callers)}
        return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls}}

    def identity(self, peers):
        cert, key = self.authority.issue(self.service)
        names = [{"san_type": "DNS", "matcher": {"exact": peer}} for peer in peers]
        return {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": {"filename": str(cert)}, "private_key": {"filename": str(key)}}],
            "validation_context": {"trusted_ca": {"filename": str(self.authority.ca)},
                                   "match_typed_subject_alt_names": names},
        }

    def wait_until_ready(self):
        self.wait_for(lambda: self.ask("ready"), f"{self.name}'s sidecar to be ready")
        return self

    def ask(self, what):
        """What the admin port answers; nothing where it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{what}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def count(self, name):
        """A counter or gauge of its statistics; 0 where it has none of that name."""
        lines = self.ask(f"stats?filter=^{name}$").splitlines()
        return sum(int(line.rsplit(": ", 1)[1]) for line in lines)

    def calls(self, path):
        """What it has written of ended calls of a method, in their order."""
        lines = self.access.read_text().splitlines() if self.access.exists() else []
        return [call for call in map(json.loads, lines) if call["path"].endswith(path)]


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
