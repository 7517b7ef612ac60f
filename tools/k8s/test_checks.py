"""What is checked beside the rules: schemas, values that the services read, the Dockerfile. Each must be able to refuse."""

import pathlib
import shutil
import tempfile
import unittest
import unittest.mock

import binaries
import images
import kustomize
import observability
import schemas


class Binaries(unittest.TestCase):
    def check(self, help_text):
        """What a stub of the vae, which takes `text` as the form of its logs alone, says to the base."""
        with tempfile.TemporaryDirectory() as folder:
            binary = pathlib.Path(folder) / "debug" / "cogwheel-vae"
            binary.parent.mkdir()
            binary.write_text(f"#!/bin/sh\n[ $1 = --help ] && echo '{help_text}' && exit\n"
                              '[ "$COGWHEEL_LOG_FORMAT" = text ] || { echo "found $COGWHEEL_LOG_FORMAT" >&2; exit 2; }\n')
            binary.chmod(0o755)
            shutil.copytree(kustomize.K8S, kustomize.SCRATCH, dirs_exist_ok=True)
            with unittest.mock.patch.object(binaries, "TARGET", pathlib.Path(folder)):
                binaries.built.cache_clear()
                self.addCleanup(binaries.built.cache_clear)
                return binaries.check([kustomize.render(kustomize.kubectl(), None, ())])

    def test_a_value_that_the_service_does_not_take_is_refused(self):
        self.assertEqual(self.check("--print-config"), (["base: cogwheel-vae --print-config: found json"], ["cogwheel-vae"]))

    def test_a_service_that_cannot_tell_is_not_asked(self):
        self.assertEqual(self.check("--log-format"), ([], []))


class Images(unittest.TestCase):
    def test_each_image_is_a_target_with_its_entrypoint_and_user(self):
        dockerfile = (kustomize.ROOT / "Dockerfile").read_text()
        services = {"orchestrator", "text-encoder", "denoiser", "vae", "cogwheel"}
        check = lambda text: list(images.targets(text, services))
        self.assertEqual(check(dockerfile), [])
        cases = [("AS vae", "AS vea", "expected a target vae"), ("USER 65532:65532", "USER root", "expected USER 65532"),
                 ('["/usr/local/bin/cogwheel-vae"]', '["/usr/local/bin/cogwheel-denoiser"]', "expected a target vae"),
                 ('ENTRYPOINT ["/usr/local/bin/cogwheel-vae"]', "", "expected a target vae")]
        for old, new, expected in cases:
            with self.subTest(new):
                found = check(dockerfile.replace(old, new))
                self.assertTrue([message for message in found if expected in message], found)


class Observability(unittest.TestCase):
    def test_rules_that_are_not_those_of_the_plain_file_are_noticed(self):
        self.assertEqual(observability.check(), [])
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder) / "alerts.yaml"
            other.write_text(observability.PLAIN.read_text().replace("for: 5m", "for: 6m"))
            with unittest.mock.patch.object(observability, "PLAIN", other):
                self.assertEqual(len(observability.check()), 1)


class Schemas(unittest.TestCase):
    def refused(self, document, expected):
        messages, _ = schemas.check([document])
        self.assertTrue([message for message in messages if expected in message], messages)

    def test_kubernetes_kinds_are_checked_in_every_version(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}
        self.assertEqual(schemas.check([service]), ([], []))
        service["spec"]["ports"][0]["appProtocols"] = "x"
        for version in schemas.VERSIONS:
            self.refused(service, f"Service a: Kubernetes {version}: spec.ports.0: Additional properties")
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
                  "spec": {"maxUnavailable": {}}}
        self.refused(budget, "spec.maxUnavailable")

    def test_a_kind_that_a_later_version_dropped_or_an_older_had_not_is_refused(self):
        newer = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "a"}, "spec": {}}
        self.refused(newer, "Kubernetes 1.31.0: expected a kind that it has")

    def test_custom_resources_are_checked_as_far_as_schemas_are_known(self):
        scaled = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "a"},
                  "spec": {"scaleTargetRef": {"name": "b"}, "triggers": []}}
        self.assertEqual(schemas.check([scaled]), ([], []))
        self.refused({**scaled, "spec": {**scaled["spec"], "pollingInterval": "1"}}, "pollingInterval must be integer")
        self.refused({**scaled, "spec": {**scaled["spec"], "pollingIntervall": 1}}, "spec/pollingIntervall: unknown key")
        self.refused({**scaled, "apiVersion": "keda.sh/v1"}, "expected a kind that @kubernetes-models/keda has")
        server = {"apiVersion": "policy.linkerd.io/v1beta3", "kind": "Server", "metadata": {"name": "a"}, "spec": {}}
        self.assertEqual(schemas.check([server]), ([], ["policy.linkerd.io/v1beta3 Server"]))


if __name__ == "__main__":
    unittest.main()
