import random
import socket


def free_port():
    """Below those that systems give to connections: one of these could be taken before the server comes to it."""
    for port in random.sample(range(10_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("expected a free port, found none of 100")
