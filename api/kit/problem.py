"""Turns anything that ends a request badly into one value, which a dialect's error table renders.

Four arms: an anticipated refusal, a request of the wrong shape, a refusal of the web framework, and
everything else, of which nothing but the fact is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from domain.errors import DomainError, ErrorKind
from services.errors import explain

MALFORMED_BODY = "malformed_body"
PAYLOAD_TOO_LARGE = "payload_too_large"
PATH_NOT_FOUND = "path_not_found"
METHOD_NOT_ALLOWED = "method_not_allowed"
INVALID_REQUEST = "invalid_request"
INTERNAL = "internal"

FIELDS_MAX = 20
"""Fields whose errors are told at a time; a body may have thousands of wrong ones."""

_SOURCES = frozenset({"body", "query", "path", "header", "cookie"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request failed, in no dialect's words."""

    kind: ErrorKind
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


_FRAMEWORK: Mapping[int, Problem] = {
    400: Problem(ErrorKind.INVALID, MALFORMED_BODY, "The body is not valid JSON"),
    404: Problem(ErrorKind.NOT_FOUND, PATH_NOT_FOUND, "There is nothing at this address"),
    405: Problem(ErrorKind.INVALID, METHOD_NOT_ALLOWED, "This method is not allowed here"),
    413: Problem(ErrorKind.INVALID, PAYLOAD_TOO_LARGE, "The body is too large"),
}
INTERNAL_PROBLEM = Problem(ErrorKind.INTERNAL, INTERNAL, "An unexpected error occurred")


def problem_of(failure: BaseException) -> Problem:
    """The problem that an exception amounts to."""
    match failure:
        case DomainError():
            return Problem(failure.kind, failure.code, failure.message, failure.details)
        case RequestValidationError():
            return _of_validation(failure)
        case HTTPException():
            return _of_framework(failure)
        case _:
            explained = explain(failure)
            return INTERNAL_PROBLEM if explained is None else problem_of(explained)


def _of_validation(failure: RequestValidationError) -> Problem:
    errors = failure.errors()
    if any(error["type"] == "json_invalid" for error in errors):
        return _FRAMEWORK[400]
    if isinstance(failure.body, bytes) and failure.body:
        message = "Send the body as JSON, with Content-Type: application/json"
        return Problem(ErrorKind.INVALID, MALFORMED_BODY, message)
    # Only our own words about each field: what was sent may be a secret.
    fields = {
        _field_name(error["loc"]): str(error["msg"]).removeprefix("Value error, ")
        for error in errors[:FIELDS_MAX]
    }
    left = len(errors) - FIELDS_MAX
    message = "The request is not valid" + (f"; {left} more errors are not shown" * (left > 0))
    return Problem(ErrorKind.INVALID, INVALID_REQUEST, message, {"fields": fields})


def _field_name(location: Sequence[str | int]) -> str:
    parts = location[1:] if len(location) > 1 and location[0] in _SOURCES else location
    return ".".join(str(part) for part in parts)


def _of_framework(failure: HTTPException) -> Problem:
    known = _FRAMEWORK.get(failure.status_code, INTERNAL_PROBLEM)
    return Problem(known.kind, known.code, known.message, headers=dict(failure.headers or {}))
