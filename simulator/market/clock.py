"""The venue clock: it stands still in step mode, runs N times real time in speed mode.

A running clock is persisted as a *lease*: an instant ahead of now that the clock may reach without
writing again. After a kill the clock goes on from the lease, so it never shows an earlier time
than it has shown before, and the jump is bounded by the lease's length.
"""

from dataclasses import dataclass

from simulator.config import Mode
from simulator.market.candles import MINUTE_MS

LEASE_SECONDS = 2.0
MAX_SLEEP_SECONDS = 1.0


@dataclass
class VenueClock:
    """Venue time in UTC milliseconds.

    Attributes:
        now_ms: The instant up to which the market has been played.
        lease_ms: The instant the clock may reach before the lease must be renewed on disk.
        mode: Whether the clock runs by itself.
        speed: Venue seconds per wall second.
    """

    now_ms: int
    lease_ms: int
    mode: Mode
    speed: float
    _remainder_ms: float = 0.0

    def target_after(self, elapsed_seconds: float) -> int:
        """Return where the clock should be after this much wall time.

        A process that was suspended does not catch up: the venue stood still with it.
        """
        if self.mode == "step":
            return self.now_ms
        exact = min(elapsed_seconds, MAX_SLEEP_SECONDS) * self.speed * 1000 + self._remainder_ms
        whole = int(exact)
        self._remainder_ms = exact - whole
        return self.now_ms + whole

    def lease_for(self, target_ms: int) -> int:
        """Return the lease to hold while at `target_ms`; a standing clock needs none ahead."""
        if self.mode == "step":
            return target_ms
        return target_ms + max(1, int(LEASE_SECONDS * self.speed * 1000))

    def minute_end(self) -> int:
        """Return the first minute boundary at or after now."""
        return -(-self.now_ms // MINUTE_MS) * MINUTE_MS
