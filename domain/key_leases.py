"""How long a process may use a connection's stored keys without reading that they still are its.

Reading the connection's row gives a lease of a second on its keys. A request that would leave after
that has the row read again, right before its first byte is written. Whoever removes or replaces
keys commits that and then waits for as long, so no request leaves with them after the answer.

An order that is being sent asks for nothing on its way: its row says so, and whoever removes the
keys waits for its send instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

KEY_LEASE_SECONDS = 1.0

NEVER_READ = -math.inf
"""When a row was read that was not: gives no lease."""

_held_until: ContextVar[float] = ContextVar("keys_held_until", default=NEVER_READ)


@contextmanager
def keys_held_until(deadline: float) -> Iterator[None]:
    """Say that whoever removes the keys waits for the request within, which may leave until then.

    Args:
        deadline: by the monotonic clock, as the loop's.
    """
    token = _held_until.set(deadline)
    try:
        yield
    finally:
        _held_until.reset(token)


def keys_are_held_until() -> float:
    """Until when the requests of here may leave whatever a lease says."""
    return _held_until.get()
