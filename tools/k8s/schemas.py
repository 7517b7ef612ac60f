"""Documents against schemas: Kubernetes' own in several versions, custom resources by @kubernetes-models where it has them."""

import json
import pathlib
import re
import subprocess

import jsonschema
import kubernetes_validate
from referencing import Registry, Resource

# The oldest that still has what the manifests use (a sleep as preStop, without a gate), one between, and the newest known.
VERSIONS = "1.31.0", "1.34.0", "1.37.0"
SCHEMAS = pathlib.Path(kubernetes_validate.__file__).with_name("kubernetes-json-schema")
CUSTOM = pathlib.Path(__file__).with_name("custom.js")


def check(documents):
    """Messages on what is wrong, and the kinds that no schema was found for."""
    distinct = list({json.dumps(document, sort_keys=True): document for document in documents}.values())
    messages, custom = [], []
    validators = [Kubernetes(version) for version in VERSIONS]
    for document in distinct:
        if not any(validator.knows(document) for validator in validators):
            custom.append(document)
            continue
        for validator in validators:
            messages += validator.errors(document)
    wrong, unchecked = check_custom(custom)
    return messages + wrong, unchecked


class Kubernetes:
    """The schemas of one version; keys that it does not know are errors."""

    def __init__(self, version):
        self.version, self.validators = version, {}
        self.folder = SCHEMAS / f"v{version}-local-strict"
        # One that was taken out of the package must be noticed.
        self.registry = Resource.from_contents(json.loads((self.folder / "_definitions.json").read_text())) @ Registry()

    def knows(self, document):
        return self.file(document).is_file()

    def file(self, document):
        group, _, version = document["apiVersion"].rpartition("/")
        # The schemas' names have the group's first part only, which custom resources could share.
        if "." in group and not group.endswith(".k8s.io"):
            return self.folder / "none"
        prefix = f"{group.split('.')[0]}-" if group else ""
        return self.folder / f"{document['kind'].lower()}-{prefix}{version}.json"

    def errors(self, document):
        file = self.file(document)
        if not file.is_file():
            return [f"{named(document)}: Kubernetes {self.version}: expected a kind that it has"]
        if file not in self.validators:
            schema = json.loads(file.read_text())
            self.validators[file] = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return [f"{named(document)}: Kubernetes {self.version}: {'.'.join(map(str, error.path))}: {error.message[:300]}"
                for error in self.validators[file].iter_errors(document)]


def check_custom(documents):
    result = subprocess.run(["node", str(CUSTOM)], input=json.dumps(documents), capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{CUSTOM.name}: {result.stderr.strip()}")
    messages, unchecked = [], set()
    for document, answer in zip(documents, json.loads(result.stdout), strict=True):
        if answer is None:
            unchecked.add(f"{document['apiVersion']} {document['kind']}")
        else:
            messages += [f"{named(document)}: {re.sub(r'^/', '', text)}" for text in answer]
    return messages, sorted(unchecked)


def named(document):
    return f"{document['kind']} {document['metadata']['name']}"
