"""What must hold of every render. Each rule takes a render and gives messages on what does not."""

from rules import mesh, metrics, network, services, settings, storage, workloads

ALONE = workloads.check, services.check, storage.check, network.check


def documented(root):
    """What the project's pages say there is, which tests hold to the binaries, and what a test of a mesh proves."""
    return (settings.read((root / "README.md").read_text()), metrics.read(root / "docs" / "METRICS.md"),
            mesh.read(root / "tests" / "mesh" / "sidecar.py"))


def check(render, documented):
    """Messages of all rules."""
    settings_table, metrics_table, proven = documented
    messages = [message for rule in ALONE for message in rule(render)]
    held = settings.check(render, settings_table), metrics.check(render, metrics_table), mesh.check(render, proven)
    return messages + [message for rule in held for message in rule]
