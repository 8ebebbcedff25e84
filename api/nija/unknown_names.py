"""Refuses what a call would leave unread: a name that does nothing may have been meant to matter.

Bodies and queries that a call takes are models that refuse unknown names. This is about the calls
that take none: `POST /trading/pause` with a body, or closing with `?percent=50`.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from api.nija.auth import Reader

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_UNKNOWN = "Extra inputs are not permitted"
_NO_OBJECT = "Input should be an object without any name, or nothing"


async def read_unexpected_body(request: Request) -> None:
    """Dependency of every call: what is sent where no body is taken must be JSON at least.

    It comes before what looks the caller up, as the reading of bodies that are taken does. Bodies
    of calls that change nothing have no meaning and are not read.

    Raises:
        RequestValidationError: it is not, or is not said to be.
    """
    if request.method in _SAFE_METHODS or request.scope["route"].body_field is not None:
        return
    body = await request.body()
    if not body:
        return
    if not _is_json(request.headers.get("content-type", "")):
        raise RequestValidationError([], body=body)
    try:
        request.state.unexpected = await request.json()
    except (ValueError, RecursionError) as failure:
        raise RequestValidationError(
            [_error("JSON decode error", "body", kind="json_invalid")]
        ) from failure


async def refuse_unknown_names(request: Request) -> None:
    """Dependency of the calls without a token: refuses a body or query where none is taken.

    Raises:
        RequestValidationError: names what is not known.
    """
    unexpected: Any = getattr(request.state, "unexpected", None)
    if unexpected is not None and not isinstance(unexpected, dict):
        raise RequestValidationError([_error(_NO_OBJECT, "body")])
    errors = [_error(_UNKNOWN, "body", name) for name in unexpected or ()]
    if request.scope["query_string"] and not request.scope["route"].dependant.query_params:
        errors += [_error(_UNKNOWN, "query", name) for name in request.query_params]
    if errors:
        raise RequestValidationError(errors)


async def refuse_callers_unknown_names(request: Request, _claims: Reader) -> None:
    """The same for the other calls: who may not call at all is told that first."""
    await refuse_unknown_names(request)


def _error(message: str, *place: str, kind: str = "unexpected") -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": message}


def _is_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))
