"""The wall clock: the time people live in. Venue time comes from the venues."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Implements `domain.ports.WallClock` with the clock of this machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)
