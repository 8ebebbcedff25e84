"""Loopback ports: find a free one, or say which setting names the taken one."""

from __future__ import annotations

import random
import socket

from adapters.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"

# Below the usual ephemeral range (32768 and up): no outgoing connection can sit on a child's port
# while that child is being restarted.
FREE_PORT_MIN = 15_000
FREE_PORT_MAX = 32_000
FREE_PORT_TRIES = 200


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers set this too: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = LOOPBACK, avoid: frozenset[int] = frozenset()) -> int:
    """Pick a port nobody listens on.

    Raises:
        EmbeddedError: none was found in a bounded number of tries.
    """
    chooser = random.SystemRandom()
    for _ in range(FREE_PORT_TRIES):
        port = chooser.randint(FREE_PORT_MIN, FREE_PORT_MAX)
        if port not in avoid and is_free(port, host):
            return port
    raise EmbeddedError(f"No free port found between {FREE_PORT_MIN} and {FREE_PORT_MAX}.")


def claim(
    setting: str, wanted: int, host: str = LOOPBACK, avoid: frozenset[int] = frozenset()
) -> int:
    """The port a setting stands for: itself, or a free one for 0.

    Raises:
        EmbeddedError: the port is taken.
    """
    if wanted == 0:
        return free_port(host, avoid)
    if wanted in avoid or not is_free(wanted, host):
        raise EmbeddedError(
            f"{setting}={wanted} is taken by another process. "
            f"Set {setting} to another port, or to 0 for any free one."
        )
    return wanted
