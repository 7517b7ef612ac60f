"""Settings: each variable and flag that is used is one of that service, as the README's table says, which a test of the
binaries holds to them."""

import re

from manifests import containers, environment, identity, is_for_cuda, pod, quantity, service_of

LETTERS = {"orchestrator": "O", "text-encoder": "T", "denoiser": "D", "vae": "V"}
COLUMNS = "flag", "environment", "of"
# What a GPU computes in; `auto`, the default, is refused with it.
CUDA_PRECISIONS = "fp16", "bf16", "fp32"
# What the orchestrator judges memory by, and whose setting it is.
JUDGED = {"COGWHEEL_PRECISION": "denoiser", "COGWHEEL_VAE_TILING": "vae"}
DEFAULT_GENERATIONS = 16
# The second takes IPv4 too, but is not there on nodes whose kernel has no IPv6.
EVERYWHERE = "0.0.0.0", "[::]"
LISTENERS = {"COGWHEEL_LISTEN": "grpc", "COGWHEEL_ADMIN_LISTEN": "admin"}


def read(readme):
    """{(letter, flag or variable)} of the table under the mark `<!-- settings -->`."""
    _, _, text = readme.partition("<!-- settings -->")
    text = text.partition("</details>")[0].replace("\\|", " ")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", text, re.M)]
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise ValueError(f"README.md: expected a table of settings with {', '.join(COLUMNS)}, found {rows[:1]}")
    flag, variable, letters = (rows[0].index(column) for column in COLUMNS)
    # A secret is a variable alone, and named beside the setting that it goes with.
    named = lambda row: [row[flag].strip("`"), row[variable].strip("`"), *re.findall(r"COGWHEEL_\w+", row[-1])]
    return {(letter, name) for row in rows[2:] for letter in row[letters] for name in named(row)}


def check(render, table):
    for deployment in render.of_kind("Deployment"):
        for container in containers(deployment):
            for message in (*of_container(render, container, table), *ports(render, container)):
                yield f"{identity(deployment)}: {message}"
    yield from judged(render)
    yield from memory(render)
    yield from generations(render)
    for settings in render.of_kind("ConfigMap"):
        is_settings = all(key.startswith("COGWHEEL_") for key in settings["data"])
        if is_settings and not any(takes(deployment, settings) for deployment in render.of_kind("Deployment")):
            yield f"{identity(settings)}: expected a Deployment that takes it"


def takes(deployment, settings):
    sources = pod(deployment)["containers"][0].get("envFrom", [])
    return settings["metadata"]["name"] in [source["configMapRef"]["name"] for source in sources]


def of_container(render, container, table):
    service = service_of(container)
    letter = LETTERS.get(service)
    if letter is None:
        yield f"image {container['image']}: expected one of {', '.join(LETTERS)}"
        return
    for source in container.get("envFrom", []):
        if render.named("ConfigMap", source["configMapRef"]["name"]) is None:
            yield f"expected a ConfigMap {source['configMapRef']['name']}"
    names = [name for name in environment(render, container) if name.startswith("COGWHEEL_")]
    flags = [word.split("=")[0] for word in container.get("args", []) if word.startswith("--")]
    for name in names + flags:
        if (letter, name) not in table:
            yield f"{name}: expected a setting of {service}, found none of that name in the README's table"
    if container.get("command"):
        yield "expected the image's own command"
    variables = environment(render, container)
    is_cuda = variables.get("COGWHEEL_EXECUTION_PROVIDER") == "cuda"
    if is_cuda != is_for_cuda(container):
        yield "expected an image for CUDA" if is_cuda else "expected COGWHEEL_EXECUTION_PROVIDER=cuda with that image"
    precision = variables.get("COGWHEEL_PRECISION")
    if is_cuda and precision not in CUDA_PRECISIONS:
        yield f"COGWHEEL_PRECISION: expected one of {', '.join(CUDA_PRECISIONS)} with cuda, found {precision}"


def ports(render, container):
    variables = environment(render, container)
    numbers = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for name, port in LISTENERS.items():
        address, _, number = (variables.get(name) or "").rpartition(":")
        if address not in EVERYWHERE or number != str(numbers.get(port)):
            yield f"{name}: expected port {numbers.get(port)} of {' or '.join(EVERYWHERE)}, found {variables.get(name)}"


def judged(render):
    """The orchestrator judges a request's memory by settings of stages, which it is therefore told too."""
    variables = {service_of(container): environment(render, container)
                 for deployment in render.of_kind("Deployment") for container in containers(deployment)}
    for name, stage in JUDGED.items():
        found, expected = variables.get("orchestrator", {}).get(name), variables.get(stage, {}).get(name)
        if found != expected:
            yield f"{name} of the orchestrator: expected that of the {stage}, {expected}, found {found}"


def memory(render):
    """The orchestrator judges requests by what stages may take, which is not what it may take itself."""
    limits, judged = [], None
    for deployment in render.of_kind("Deployment"):
        container, = pod(deployment)["containers"]
        if service_of(container) == "orchestrator":
            judged = environment(render, container).get("COGWHEEL_MEMORY_LIMIT")
        else:
            if "limits.memory" not in [source.get("resource") for source in fields(container, "COGWHEEL_MEMORY_LIMIT")]:
                yield f"COGWHEEL_MEMORY_LIMIT of the {service_of(container)}: expected its container's limits.memory"
            limits.append(quantity(container.get("resources", {}).get("limits", {}).get("memory", 0)))
    if judged is None or quantity(judged) != max(limits):
        yield f"COGWHEEL_MEMORY_LIMIT of the orchestrator: expected the largest limit of a stage, found {judged}"


def fields(container, name):
    """Which of the container's own resources a variable is."""
    return [variable["valueFrom"].get("resourceFieldRef", {}) for variable in container.get("env", [])
            if variable["name"] == name and "valueFrom" in variable]


def generations(render):
    """What the orchestrator lets in is work for every replica of the denoiser, those that KEDA may add included."""
    orchestrator, denoiser = (render.named("Deployment", name) for name in ("orchestrator", "denoiser"))
    container, = pod(orchestrator)["containers"]
    found = int(environment(render, container).get("COGWHEEL_MAX_GENERATIONS") or DEFAULT_GENERATIONS)
    expected = denoiser["spec"].get("replicas", 1)
    for scaled in render.of_kind("ScaledObject"):
        if scaled["spec"]["scaleTargetRef"]["name"] == "denoiser":
            # Calls; the other trigger counts seconds.
            threshold = max(float(trigger["metadata"]["threshold"]) for trigger in scaled["spec"]["triggers"]
                            if trigger["metricType"] == "AverageValue")
            expected = scaled["spec"]["maxReplicaCount"] * threshold
    if found < expected:
        yield f"COGWHEEL_MAX_GENERATIONS: expected at least {expected:.0f}, for all replicas of the denoiser, found {found}"
