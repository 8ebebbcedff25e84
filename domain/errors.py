"""Anticipated errors of the core.

Services raise these; each API dialect decides HTTP status and wire code. Messages are safe to show
to the user who caused them: no secret, no internals, nothing about other users.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ErrorKind(StrEnum):
    """The closed set of ways in which a request can fail."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    PAYMENT_REQUIRED = "payment_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    LIMIT_REACHED = "limit_reached"
    RATE_LIMITED = "rate_limited"
    VENUE_FAILED = "venue_failed"
    UNAVAILABLE = "unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    DATABASE = "database"
    INTERNAL = "internal"


class DomainError(Exception):
    """An anticipated refusal.

    Args:
        message: a sentence for the user.
        details: typed extras for the error envelope.

    `kind` and `code` are class attributes; `code` is stable, unique and snake_case.
    """

    kind: ErrorKind = ErrorKind.INTERNAL
    code: str = "internal"

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})
