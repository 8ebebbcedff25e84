"""Clocks that stand until a test moves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FakeWall:
    """A wall clock that a test moves, and that each reading moves by a microsecond."""

    def __init__(self) -> None:
        self.time = BEGAN

    def now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)
