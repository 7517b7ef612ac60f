import random
import socket

GIVEN = set()


def free_port():
    """Below those that systems give to connections: one of these could be taken before the server comes to it.

    None is given twice, since who asked first may not have come to his either.
    """
    for port in random.sample(range(10_000, 32_000), 100):
        if port in GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        GIVEN.add(port)
        return port
    raise OSError("expected a free port, found none of 100")
