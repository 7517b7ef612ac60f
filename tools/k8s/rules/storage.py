"""Volumes: weights are only read, what is written has a place and a bound, the orchestrator's data has one owner."""

from manifests import environment, identity, pod, quantity

# Settings that bound what is written, by where it is written.
BOUNDS = {"COGWHEEL_ADAPTER_BYTES": "/tmp", "COGWHEEL_VARIANT_CACHE_BYTES": "COGWHEEL_VARIANT_CACHE"}
SOURCES = {"persistentVolumeClaim", "emptyDir", "secret"}


def check(render):
    for deployment in render.of_kind("Deployment"):
        for message in of_deployment(render, deployment):
            yield f"{identity(deployment)}: {message}"


def of_deployment(render, deployment):
    spec = pod(deployment)
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    container, = spec["containers"]
    mounts = container.get("volumeMounts", [])
    for volume in volumes.values():
        kind, = set(volume) - {"name"}
        if kind not in SOURCES:
            yield f"volume {volume['name']}: expected one of {', '.join(sorted(SOURCES))}, found {kind}"
        if kind == "emptyDir" and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']}: expected a sizeLimit"
        if kind == "persistentVolumeClaim":
            yield from of_claim(render, deployment, volume["persistentVolumeClaim"])
        if volume["name"] not in {mount["name"] for mount in mounts}:
            yield f"volume {volume['name']}: expected a mount"
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"mount {mount['mountPath']}: expected a volume {mount['name']}"
        elif mount.get("readOnly") is not True and ("secret" in volumes[mount["name"]] or mount["name"] == "models"):
            yield f"mount {mount['mountPath']}: expected it read-only"
    yield from paths(render, container, mounts, volumes)


def of_claim(render, deployment, source):
    claim = render.named("PersistentVolumeClaim", source["claimName"])
    if claim is None:
        yield f"expected a claim {source['claimName']}"
        return
    if claim["spec"]["accessModes"] == ["ReadWriteOnce"]:
        if deployment["spec"].get("strategy", {}).get("type") != "Recreate" or deployment["spec"].get("replicas") != 1:
            yield f"claim {source['claimName']}: expected one replica and the strategy Recreate"
    elif source.get("readOnly") is not True:
        yield f"claim {source['claimName']}: expected it read-only, since replicas share it"


def paths(render, container, mounts, volumes):
    variables = environment(render, container)
    where = {mount["mountPath"]: mount for mount in mounts}
    for name, value in variables.items():
        if name.startswith("COGWHEEL_") and (value or "").startswith("/") and not holder(value, where):
            yield f"{name}: expected a path on a volume, found {value}"
    for bound, place in BOUNDS.items():
        if variables.get(bound) is None:
            continue
        mount = holder(variables.get(place, place), where)
        limit = mount and volumes[mount["name"]].get("emptyDir", {}).get("sizeLimit")
        if limit is None or quantity(limit) <= quantity(variables[bound]):
            yield f"{bound}: expected a volume with a sizeLimit above {variables[bound]}, found {limit}"


def holder(path, where):
    found = [mount for place, mount in where.items() if path == place or path.startswith(place + "/")]
    return found[0] if found else None
