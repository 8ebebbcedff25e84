"""What a run of the simulation may end with: a broken confirmation of the product, or a stall."""

from __future__ import annotations


class Violation(Exception):
    """An invariant does not hold.

    Attributes:
        invariant: its short name.
        details: what was seen instead.
    """

    def __init__(self, invariant: str, details: str) -> None:
        super().__init__(f"{invariant}: {details}")
        self.invariant = invariant
        self.details = details

    def __reduce__(self) -> tuple[type[Violation], tuple[str, str]]:
        """Let it pass from one process to another."""
        return Violation, (self.invariant, self.details)
