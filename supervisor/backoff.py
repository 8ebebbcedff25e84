"""How long to wait before a dead child is started again."""

from __future__ import annotations

FIRST_SECONDS = 0.1
FACTOR = 2.0
CAP_SECONDS = 10.0
STEADY_SECONDS = 30.0


class Backoff:
    """Quick after one death, patient with a child that keeps dying, forgiving after a while."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def delay(self, uptime_seconds: float) -> float:
        """The wait after a death, given how long the child had been up."""
        if uptime_seconds >= STEADY_SECONDS:
            self._next = FIRST_SECONDS
        current = self._next
        self._next = min(current * FACTOR, CAP_SECONDS)
        return current
