"""Going round: a round that cannot take all is gone on with behind the last that was taken."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


class RoundRobin:
    """Puts ids into an order that starts behind the one that was taken last."""

    def __init__(self) -> None:
        self._last: UUID | None = None

    def order(self, ids: Iterable[UUID]) -> list[UUID]:
        """Each id once; those behind the last one come first."""
        last = self._last
        return sorted(set(ids), key=lambda it: (last is not None and it <= last, it))

    def take(self, it: UUID) -> None:
        """Note that it has had its share, before anything that may take long or fail."""
        self._last = it
