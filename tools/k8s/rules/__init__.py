"""What must hold of every render. Each rule takes a render and gives messages on what does not."""

from rules import network, services, settings, storage, workloads

RULES = (workloads.check, services.check, settings.check, storage.check, network.check)


def check(render, table):
    """Messages of all rules; `table` is the README's, of settings."""
    messages = []
    for rule in RULES:
        messages += rule(render, table) if rule is settings.check else rule(render)
    return messages
