"""Manifests made wrong one by one: each must be refused, and for its reason."""

import copy
import pathlib
import shutil
import tempfile
import unittest

import kustomize
import rules
from manifests import Render, pod
from rules import mesh, network, settings

DOCUMENTED = rules.documented(kustomize.ROOT)


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.copytree(kustomize.K8S, kustomize.SCRATCH, dirs_exist_ok=True)
        program, also = kustomize.kubectl(), ["../../pull-model"]
        cls.plain = kustomize.render(program, None, ("keda", "headless", "servicemonitor", "linkerd", "gateway"), also)
        cls.secured = kustomize.render(program, None, ("tls", "istio", "cuda"))
        cls.before = {render.name: set(rules.check(render, DOCUMENTED)) for render in (cls.plain, cls.secured)}

    def refused(self, change, expected, render=None):
        """Made wrong by `change`, the render gives a message that it did not give before and that holds `expected`."""
        render = render or self.plain
        wrong = Render(render.name, render.components, copy.deepcopy(render.documents))
        change(wrong)
        fresh = set(rules.check(wrong, DOCUMENTED)) - self.before[render.name]
        self.assertTrue([message for message in fresh if expected in message], f"expected '{expected}', found {fresh}")

    def of_denoiser(self, change, expected):
        """The same, where `change` takes the denoiser's pod and its container."""
        def apply(render):
            spec = pod(render.named("Deployment", "denoiser"))
            change(spec, spec["containers"][0])
        self.refused(apply, expected)

    def test_every_container_has_requests_and_limits(self):
        for kind in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                with self.subTest(kind=kind, resource=resource):
                    self.of_denoiser(lambda _, it: it["resources"][kind].pop(resource), f"expected {kind} of {resource}")

    def test_every_container_runs_with_nothing_it_does_not_need(self):
        cases = [
            (lambda spec, _: spec["securityContext"].pop("runAsNonRoot"), "not root"),
            (lambda spec, _: spec["securityContext"].update(runAsUser=0), "not root"),
            (lambda _, it: it["securityContext"].update(runAsUser=0), "expected the pod's user"),
            (lambda _, it: it["securityContext"].update(privileged=True), "expected the pod's user"),
            (lambda _, it: it["securityContext"].pop("readOnlyRootFilesystem"), "read-only root"),
            (lambda _, it: it["securityContext"].update(allowPrivilegeEscalation=True), "privilege escalation"),
            (lambda _, it: it["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "capabilities"),
            (lambda spec, _: spec["securityContext"].pop("seccompProfile"), "seccomp"),
            (lambda spec, _: spec.update(automountServiceAccountToken=True), "no token"),
            (lambda spec, _: spec.update(serviceAccountName="vae"), "service account of its own"),
            (lambda spec, _: spec.update(hostNetwork=True), "hostNetwork"),
            (lambda spec, it: spec.update(initContainers=[{"name": "more", "image": it["image"]}]), "container more"),
        ]
        for change, expected in cases:
            with self.subTest(expected):
                self.of_denoiser(change, expected)
        account = lambda render: render.named("ServiceAccount", "vae").pop("automountServiceAccountToken")
        self.refused(account, "service account without a token")

    def test_each_probe_asks_the_right_service_of_the_admin_port(self):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            with self.subTest(probe):
                self.of_denoiser(lambda _, it: it.pop(probe), f"expected a {probe}")
                self.of_denoiser(lambda _, it: it[probe]["grpc"].update(port=50051), "expected the port admin")
                self.of_denoiser(lambda _, it: it[probe]["grpc"].update(port=8080), "no port of it")
                self.of_denoiser(lambda _, it: it[probe]["grpc"].update(service="x"), f"{probe}: expected service")

    def test_the_grace_period_is_longer_than_the_drain(self):
        self.of_denoiser(lambda spec, _: spec.update(terminationGracePeriodSeconds=619), "at least 10 + 600 + 10")
        self.of_denoiser(lambda _, it: it["lifecycle"]["preStop"]["sleep"].update(seconds=30), "at least 30 + 600")
        self.of_denoiser(lambda _, it: it.pop("lifecycle"), "expected a sleep as preStop")
        self.of_denoiser(lambda _, it: it["env"].append({"name": "COGWHEEL_GRACE_SECONDS", "value": "900"}), "10 + 900")
        deadline = lambda render: render.named("Deployment", "orchestrator")["spec"].update(progressDeadlineSeconds=930)
        self.refused(deadline, "progressDeadlineSeconds: expected more than 930")

    def test_services_have_grpc_ports_and_no_admin_port(self):
        def port(**values):
            return lambda render: render.named("Service", "denoiser")["spec"]["ports"][0].update(values)
        self.refused(port(name="http"), "expected a port grpc")
        self.refused(port(appProtocol="http"), "appProtocol: expected kubernetes.io/h2c")
        self.refused(port(targetPort="admin"), "targetPort")
        self.refused(port(targetPort=9090), "targetPort")
        ports = lambda render: render.named("Service", "denoiser")["spec"]["ports"].append({"name": "admin", "port": 9090})
        self.refused(ports, "expected one port")
        selector = lambda render: render.named("Service", "denoiser")["spec"].update(selector={"app": "none"})
        self.refused(selector, "expected pods of one Deployment")
        ready = lambda render: render.named("Service", "vae-headless")["spec"].pop("publishNotReadyAddresses")
        self.refused(ready, "Service vae-headless: publishNotReadyAddresses: expected true")
        unready = lambda render: render.named("Service", "orchestrator")["spec"].update(publishNotReadyAddresses=True)
        self.refused(unready, "Service orchestrator: publishNotReadyAddresses: expected false")
        plain = lambda render: render.named("Service", "vae")["spec"]["ports"][0].update(appProtocol="kubernetes.io/h2c")
        self.refused(plain, "appProtocol: expected https", self.secured)

    def test_stages_are_sought_where_they_are(self):
        def variable(name, value):
            def change(render):
                variables = pod(render.named("Deployment", "orchestrator"))["containers"][0]["env"]
                next(item for item in variables if item["name"] == name)["value"] = value
            return change
        self.refused(variable("COGWHEEL_VAE", "dns://vea-headless:50051"), "expected a Service vea-headless")
        self.refused(variable("COGWHEEL_VAE", "dns://vae-headless:50052"), "with port 50052")
        self.refused(variable("STAGE_LOOKUP", "http"), "expected dns for a headless Service")
        self.refused(variable("STAGE_TLS", "s"), "expected COGWHEEL_STAGE_CA")
        self.refused(variable("STAGE_TLS", ""), "expected TLS", self.secured)
        impatient = lambda render: put(container_of(render, "orchestrator"), "COGWHEEL_STAGE_PATIENCE_SECONDS", "1799")
        self.refused(impatient, "COGWHEEL_STAGE_PATIENCE_SECONDS: expected at least 1800, in which vae-headless may start")
        route = lambda render: render.named("GRPCRoute", "api")["spec"]["rules"][0]["backendRefs"][0].update(port=9090)
        self.refused(route, "expected a Service orchestrator with port 9090")

    def test_variables_and_flags_are_settings_of_that_service(self):
        self.of_denoiser(lambda _, it: it["env"].append({"name": "COGWHEEL_VARIANTS", "value": "1"}), "COGWHEEL_VARIANTS")
        # The vae has it, the denoiser has not.
        self.of_denoiser(lambda _, it: it["env"].append({"name": "COGWHEEL_MAX_FRAME_BYTES", "value": "1"}), "of denoiser")
        self.of_denoiser(lambda _, it: it.update(args=["--variant-memroy=1"]), "--variant-memroy")
        self.of_denoiser(lambda _, it: it.update(image="cogwheel-denoise"), "image cogwheel-denoise")
        self.of_denoiser(lambda _, it: it.update(image="cogwheel-denoiser-cuda"), "expected COGWHEEL_EXECUTION_PROVIDER=cuda")
        plain = lambda render: pod(render.named("Deployment", "vae"))["containers"][0].update(image="r/cogwheel-vae:1")
        self.refused(plain, "expected an image for CUDA", self.secured)
        self.of_denoiser(lambda _, it: it["env"].append({"name": "COGWHEEL_LISTEN", "value": "0.0.0.0:9090"}), "COGWHEEL_LISTEN")
        self.of_denoiser(lambda _, it: it["ports"][1].update(containerPort=9091), "expected port 9091 of 0.0.0.0 or [::]")
        one = lambda _, it: put(it, "COGWHEEL_LISTEN", "[::1]:50051")
        self.of_denoiser(one, "COGWHEEL_LISTEN: expected port 50051 of 0.0.0.0 or [::], found [::1]:50051")
        both = Render(self.plain.name, self.plain.components, copy.deepcopy(self.plain.documents))
        put(container_of(both, "denoiser"), "COGWHEEL_LISTEN", "[::]:50051")
        self.assertEqual(set(rules.check(both, DOCUMENTED)), self.before[both.name])
        self.of_denoiser(lambda _, it: it["envFrom"][0]["configMapRef"].update(name="commom"), "expected a ConfigMap commom")
        self.of_denoiser(lambda _, it: it["resources"]["limits"].update(memory="3Gi"), "expected the largest limit")
        with self.assertRaises(ValueError):
            settings.read("<!-- settings -->\n| flag | what |\n|---|---|\n| `--x` | y |\n")

    def test_a_gpu_is_told_a_precision_that_it_computes_in(self):
        def stages(value):
            services = "denoiser", "orchestrator"
            return lambda render: [put(container_of(render, name), "COGWHEEL_PRECISION", value) for name in services]
        expected = "COGWHEEL_PRECISION: expected one of fp16, bf16, fp32 with cuda, found"
        self.refused(stages("int8"), f"{expected} int8", self.secured)
        def unstated(render):
            settings = container_of(render, "vae")["envFrom"][0]["configMapRef"]["name"]
            render.named("ConfigMap", settings)["data"].pop("COGWHEEL_PRECISION")
        self.refused(unstated, f"{expected} None", self.secured)

    def test_the_orchestrator_is_told_what_it_judges_by(self):
        for stage, name, value in (("denoiser", "COGWHEEL_PRECISION", "int8"), ("vae", "COGWHEEL_VAE_TILING", "on")):
            for service in (stage, "orchestrator"):
                change = lambda render: put(container_of(render, service), name, value)
                self.refused(change, f"{name} of the orchestrator: expected that of the {stage}")

    def test_a_stage_is_told_its_containers_memory(self):
        self.of_denoiser(lambda _, it: it["env"].remove(find(it["env"], "COGWHEEL_MEMORY_LIMIT")), "container's limits.memory")
        field = lambda it: find(it["env"], "COGWHEEL_MEMORY_LIMIT")["valueFrom"]["resourceFieldRef"]
        self.of_denoiser(lambda _, it: field(it).update(resource="requests.memory"), "container's limits.memory")

    def test_what_is_let_in_is_work_for_every_denoiser(self):
        few = lambda render: put(container_of(render, "orchestrator"), "COGWHEEL_MAX_GENERATIONS", "15")
        self.refused(few, "COGWHEEL_MAX_GENERATIONS: expected at least 16, for all replicas of the denoiser, found 15")
        many = lambda render: render.named("Deployment", "denoiser")["spec"].update(replicas=17)
        self.refused(many, "COGWHEEL_MAX_GENERATIONS: expected at least 17", self.secured)

    def test_every_deployment_may_be_disturbed_one_pod_at_a_time(self):
        budget = lambda **values: lambda render: render.named("PodDisruptionBudget", "vae")["spec"].update(values)
        self.refused(budget(maxUnavailable=0), "maxUnavailable 1")
        self.refused(budget(selector={"matchLabels": {"app": "none"}}), "expected one PodDisruptionBudget, found 0")

    def test_one_place_says_how_many_replicas_there_are(self):
        replicas = lambda name, count: lambda render: render.named("Deployment", name)["spec"].update(replicas=count)
        self.refused(replicas("denoiser", 2), "expected no replicas beside a ScaledObject")
        self.refused(replicas("orchestrator", 2), "expected one replica")
        self.refused(lambda render: render.named("Deployment", "vae")["spec"].pop("replicas"), "expected replicas", self.secured)
        target = lambda render: render.named("ScaledObject", "vae")["spec"]["scaleTargetRef"].update(name="vea")
        self.refused(target, "expected a Deployment vea")

    def test_volumes_are_bounded_read_only_or_owned(self):
        self.of_denoiser(lambda _, it: find(it["volumeMounts"], "models").pop("readOnly"), "expected it read-only")
        self.of_denoiser(lambda spec, _: find(spec["volumes"], "tmp").update(emptyDir={}), "expected a sizeLimit")
        self.of_denoiser(lambda spec, _: find(spec["volumes"], "cache")["emptyDir"].update(sizeLimit="64Gi"), "above 64GiB")
        self.of_denoiser(lambda spec, _: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "found hostPath")
        self.of_denoiser(lambda _, it: it["volumeMounts"].pop(), "expected a mount")
        self.of_denoiser(lambda _, it: it["env"].append({"name": "COGWHEEL_VARIANT_CACHE", "value": "/srv"}), "path on a volume")
        strategy = lambda render: render.named("Deployment", "orchestrator")["spec"].pop("strategy")
        self.refused(strategy, "strategy Recreate")

    def test_the_network_lets_exactly_the_needed_paths_through(self):
        def without(name):
            return lambda render: render.documents.remove(render.named("NetworkPolicy", name))
        allow, refuse = "expected allowed, found refused", "expected refused, found allowed"
        self.refused(without("default-deny"), f"a stranger to pull-model: {refuse}")
        self.refused(without("dns"), f"denoiser to dns: {allow}: TCP 53, UDP 53")
        self.refused(without("clients"), f"a client of another namespace to orchestrator: {allow}: TCP 50051")
        self.refused(without("stages-from-orchestrator"), f"orchestrator to vae: {allow}: TCP 50051")
        self.refused(without("linkerd-orchestrator-to-stages"), f"orchestrator to vae: {allow}: TCP 4143")
        self.refused(without("linkerd-control-plane"), f"linkerd's control plane: {allow}: TCP 8080, TCP 8086, TCP 8090")
        self.refused(without("prometheus"), f"prometheus to vae: {allow}: TCP 9090")
        self.refused(without("istiod"), f"istiod: {allow}: TCP 15012", self.secured)
        self.refused(without("pull-model"), f"pull-model to the internet: {allow}: TCP 443")

        def peers(change):
            return lambda render: change(render.named("NetworkPolicy", "clients")["spec"]["ingress"][0])
        self.refused(peers(lambda rule: rule.pop("from")), f"a stranger to orchestrator: {refuse}: TCP 50051")
        self.refused(peers(lambda rule: rule.pop("ports")), f"a client of another namespace to orchestrator: {refuse}: TCP 9090")
        anybody = peers(lambda rule: rule["from"].append({"namespaceSelector": {}}))
        self.refused(anybody, f"a pod that only says it is a client to orchestrator: {refuse}: TCP 50051")
        self.refused(peers(lambda rule: rule["ports"][0].update(port="grpc")), "expected ports by number")
        for block, name in enumerate(("the cloud's metadata", "the cloud's metadata by IPv6")):
            egress = lambda render: render.named("NetworkPolicy", "pull-model")["spec"]["egress"][0]
            self.refused(lambda render: egress(render)["to"][block]["ipBlock"].pop("except"), f"pull-model to {name}: {refuse}: TCP 443")

    def test_an_enhancer_outside_may_be_let_out_to(self):
        def outside(endpoint):
            def change(render):
                policy = copy.deepcopy(render.named("NetworkPolicy", "pull-model"))
                policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] = "orchestrator"
                render.documents.append(policy)
                container = container_of(render, "orchestrator")
                put(container, "COGWHEEL_PROMPT_ENHANCER", endpoint)
                put(container, "COGWHEEL_PROMPT_ENHANCER_KEY", "key")
            return change
        self.refused(outside("http://llm.llm.svc:8080/v1"), "orchestrator to the internet: expected refused, found allowed: TCP 443")
        right = Render(self.plain.name, self.plain.components, copy.deepcopy(self.plain.documents))
        outside("https://llm.example.com/v1")(right)
        self.assertEqual(set(rules.check(right, DOCUMENTED)), self.before[right.name])
        self.of_denoiser(lambda _, it: put(it, "COGWHEEL_PROMPT_ENHANCER_KEY", "key"), "expected a setting of denoiser")

    def test_the_namespace_is_the_same_wherever_it_is_named(self):
        def rename(render):
            render.of_kind("Namespace")[0]["metadata"]["name"] = "videos"
        self.refused(rename, "expected namespace videos, found cogwheel in 'sum(", self.plain)
        self.refused(rename, "found cogwheel in '*/ns/cogwheel/sa/orchestrator'", self.secured)

    def test_queries_ask_for_metrics_that_there_are(self):
        def query(render):
            trigger = render.named("ScaledObject", "vae")["spec"]["triggers"][0]["metadata"]
            trigger["query"] = trigger["query"].replace("requests_in_flight", "requests_in_work")
        self.refused(query, "cogwheel_requests_in_work: expected a metric")

    def test_a_mesh_retries_as_its_test_proves(self):
        def retries(**values):
            return lambda render: render.named("VirtualService", "vae")["spec"]["http"][0]["retries"].update(values)
        expected = "expected reset-before-request,unavailable as in tests/mesh/sidecar.py, found connect-failure"
        self.refused(retries(retryOn="connect-failure"), f"VirtualService vae: retryOn: {expected}", self.secured)
        self.refused(retries(attempts=3), "attempts: expected 2", self.secured)
        route = lambda render: render.named("VirtualService", "vae")["spec"]["http"][0].pop("retries")
        self.refused(route, "attempts: expected 2 as in tests/mesh/sidecar.py, found None", self.secured)
        policy = lambda render: render.named("DestinationRule", "vae")["spec"]["trafficPolicy"]
        self.refused(lambda render: policy(render).pop("retryBudget"), "percent: expected 20", self.secured)
        outliers = lambda render: policy(render)["outlierDetection"].update(consecutiveGatewayErrors=3)
        self.refused(outliers, "consecutiveGatewayErrors: expected 2", self.secured)
        with tempfile.NamedTemporaryFile("w+") as file, self.assertRaises(ValueError):
            mesh.read(pathlib.Path(file.name))

    def test_everything_is_in_the_namespace(self):
        self.refused(lambda render: render.named("NetworkPolicy", "dns")["metadata"].pop("namespace"), "expected namespace cogwheel")

    def test_a_path_that_nobody_thought_of_is_refused_by_default(self):
        stranger = network.Peer("x", "other", {}, network.place("other"))
        denoiser = network.own_pods(self.plain)[0]
        policies = self.plain.of_kind("NetworkPolicy")
        self.assertFalse(network.allowed(policies, "cogwheel", stranger, denoiser, "TCP", 50051))
        self.assertTrue(network.allowed([], "cogwheel", stranger, denoiser, "TCP", 50051))


def container_of(render, service):
    return pod(render.named("Deployment", service))["containers"][0]


def put(container, name, value):
    container.setdefault("env", []).append({"name": name, "value": value})


def find(items, name):
    return next(item for item in items if item["name"] == name)


if __name__ == "__main__":
    unittest.main()
