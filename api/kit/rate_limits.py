"""The HTTP side of rate limits: a meter a request, its headers, and the doors without a token."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from starlette.types import Scope

from domain.errors import DomainError
from services.limits.allowance import Meter
from services.limits.policy import Door
from services.origin import current_origin
from services.reads import OUT_OF_REACH, Claims, Reads

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After")
_AUTH_PATHS = "/auth/"


def meter_of(request: Request) -> Meter:
    """The meter of a request; the same one however often it is asked for."""
    if not hasattr(request.state, "meter"):
        request.state.meter = Meter()
    meter: Meter = request.state.meter
    return meter


def never_refuse(request: Request) -> None:
    """Dependency of the calls that leave positions: counted like any other, but let in.

    Comes before what looks the caller up.
    """
    request.state.meter = Meter(refuses=False)


def headers_of(scope: Scope) -> Iterator[tuple[str, str]]:
    """What the answer to a counted request says about the caller's limit."""
    meter: Meter | None = scope.get("state", {}).get("meter")
    if meter is None or meter.allowance is None:
        return
    allowance = meter.allowance
    values = (allowance.limit, allowance.remaining, allowance.resets_at, allowance.retry_after)
    for name, value in zip(HEADERS, values, strict=True):
        if value is not None:
            yield name, str(value)


async def count_anonymous(request: Request) -> None:
    """Dependency of the calls without a token: counts by the caller's network address.

    Raises:
        RateLimited: the address' calls of this minute are used up.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    door = Door.AUTH if path.startswith(_AUTH_PATHS) else Door.PUBLIC
    reads: Reads = request.app.state.services.reads
    await reads.admit_address(door, current_origin().ip, meter_of(request))


async def count_refused(request: Request, failure: Exception) -> Exception:
    """Count a call that failed before anything was read for its caller.

    Answers why the call fails: a caller who may not call at all, or not again yet, is told that.
    """
    claims: Claims | None = getattr(request.state, "claims", None)
    if claims is None or claims.meter is None or claims.meter.is_counted:
        return failure
    if isinstance(failure, OUT_OF_REACH):  # counting would wait as long again, for nothing
        return failure
    reads: Reads = request.app.state.services.reads
    try:
        await reads.principal(claims)
    except DomainError as refusal:
        return refusal
    except Exception:  # noqa: BLE001 - what went wrong first is what the caller should hear
        return failure
    return failure
