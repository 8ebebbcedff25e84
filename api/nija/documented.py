"""What an operation's documentation promises: its answer, and every error it can end with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import Depends
from pydantic import BaseModel

from api.kit.rate_limits import count_anonymous, never_refuse
from api.nija.envelope import NijaError, NijaOk
from api.nija.errors import BY_KIND, WireError, wire_error
from api.nija.unknown_names import (
    read_unexpected_body,
    refuse_callers_unknown_names,
    refuse_unknown_names,
)
from domain.errors import DomainError, ErrorKind
from services.errors import (
    AccountDisabled,
    AccountSuspended,
    DatabaseFailed,
    IdempotencyConflict,
    InvalidRequest,
    RateLimited,
    TokenExpired,
    TokenInvalid,
)

_EXAMPLE_TIME = "2026-01-29T10:42:00Z"
_MALFORMED = WireError(400, "MALFORMED_BODY")
_TOO_LARGE = WireError(413, "PAYLOAD_TOO_LARGE")
_AUTHENTICATED: tuple[type[DomainError], ...] = (
    TokenInvalid,
    TokenExpired,
    AccountDisabled,
    AccountSuspended,
)


def answers(
    view: type[BaseModel],
    *refusals: type[DomainError],
    public: bool = False,
    body: bool = False,
    idempotent: bool = False,
    counted: bool = True,
    way_out: bool = False,
    changes: bool = False,
    lenient: bool = False,
) -> dict[str, Any]:
    """Keyword arguments of a route: its answer model and its documented responses.

    Args:
        view: the `data` of a success.
        refusals: what the service behind the route may raise.
        public: no token needed.
        body: the route takes a JSON body.
        idempotent: the route accepts an Idempotency-Key.
        counted: calls count against a rate limit: of the caller's plan, or of the address of a
            caller without a token.
        way_out: the route leaves positions. It is counted and never refused: nothing that slows
            callers down may keep a position open.
        changes: the route changes something although it takes neither body nor key: what is sent
            all the same is looked at.
        lenient: names that the route does not know are left unread instead of refused.
    """
    kinds: list[type[DomainError]] = [*refusals]
    if not public:
        kinds += _AUTHENTICATED
    if body or not lenient:
        kinds.append(InvalidRequest)
    if idempotent:
        kinds.append(IdempotencyConflict)
    if counted and not way_out:
        kinds.append(RateLimited)
    kinds.append(DatabaseFailed)
    errors = [wire_error(kind.kind, kind.code) for kind in kinds]
    errors += [_MALFORMED, _TOO_LARGE] if body or idempotent or changes else []
    errors.append(BY_KIND[ErrorKind.INTERNAL])
    return {
        "response_model": NijaOk[view],  # type: ignore[valid-type]
        "responses": _responses(errors),
        "dependencies": [
            # Before what looks the caller up.
            *([Depends(never_refuse)] if way_out else []),
            *([Depends(count_anonymous)] if public and counted else []),
            *([] if lenient else _refusing_unknown_names(public=public)),
        ],
    }


def _refusing_unknown_names(*, public: bool) -> list[Any]:
    refusing = refuse_unknown_names if public else refuse_callers_unknown_names
    return [Depends(read_unexpected_body), Depends(refusing)]


def _responses(errors: Iterable[WireError]) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[str]] = {}
    for status, code in errors:
        codes = by_status.setdefault(status, [])
        if code not in codes:
            codes.append(code)
    return {status: _response(codes) for status, codes in sorted(by_status.items())}


def _response(codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": _example(code)} for code in codes}
    return {
        "model": NijaError,
        "description": ", ".join(codes),
        "content": {"application/json": {"examples": examples}},
    }


def _example(code: str) -> dict[str, Any]:
    details = {"fields": {"name": "Field required"}} if code == "VALIDATION_ERROR" else {}
    return {
        "success": False,
        "error": {"code": code, "message": "Human-readable error message", "details": details},
        "timestamp": _EXAMPLE_TIME,
    }
