"""What must hold of every render. Each rule takes a render and gives messages on what does not."""

from rules import metrics, network, services, settings, storage, workloads

ALONE = workloads.check, services.check, storage.check, network.check


def documented(root):
    """What the project's pages say there is, which tests hold to the binaries: settings and metrics."""
    return settings.read((root / "README.md").read_text()), metrics.read(root / "docs" / "METRICS.md")


def check(render, documented):
    """Messages of all rules."""
    settings_table, metrics_table = documented
    messages = [message for rule in ALONE for message in rule(render)]
    return messages + list(settings.check(render, settings_table)) + list(metrics.check(render, metrics_table))
