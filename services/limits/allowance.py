"""How many calls somebody has left, told by whoever counted the present one."""

from __future__ import annotations

from dataclasses import dataclass

from services.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a minute after a call.

    Attributes:
        limit: calls a minute.
        remaining: calls that would be let in at once.
        resets_at: unix second from which on there is more room.
        retry_after: seconds until the next call is let in; None where this one was.
    """

    limit: int
    remaining: int
    resets_at: int
    retry_after: int | None = None

    def refusal(self) -> RateLimited:
        """What a call that was not let in is told."""
        return RateLimited(
            details={"limit": self.limit, "retry_after_seconds": self.retry_after or 1}
        )


class Meter:
    """One request on its way through: whether it was counted, and what is left after it.

    The claims of a caller carry it, so that whatever reads for them first counts the call, once.

    Attributes:
        refuses: whether a call too many is refused. What leaves a position is let in all the same.
    """

    def __init__(self, *, refuses: bool = True) -> None:
        self.refuses = refuses
        self.is_counted = False
        self.allowance: Allowance | None = None
