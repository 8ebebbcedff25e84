"""The NIJA envelopes: `{success, data, timestamp}` and `{success, error, timestamp}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from api.kit.wire import to_json

T = TypeVar("T")


class NijaOk(BaseModel, Generic[T]):
    """A success."""

    success: Literal[True] = True
    data: T
    timestamp: datetime


class ErrorBody(BaseModel):
    """What went wrong: `code` for programs, `message` for people, `details` where there are any."""

    code: str
    message: str
    details: dict[str, Any]


class NijaError(BaseModel):
    """A failure."""

    success: Literal[False] = False
    error: ErrorBody
    timestamp: datetime


class Answer(Response, Generic[T]):
    """A rendered success whose data is a `T`.

    Routes render at once, so the documented model is checked by the type of `ok` and not validated
    a second time at run time.
    """

    media_type = "application/json"


def ok(data: T) -> Answer[T]:
    """Render a success."""
    return Answer(
        to_json({"success": True, "data": data, "timestamp": datetime.now(UTC)}), headers=_HEADERS
    )


def failure(
    status: int, code: str, message: str, details: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    """Render a failure."""
    error = {"code": code, "message": message, "details": details}
    return Response(
        to_json({"success": False, "error": error, "timestamp": datetime.now(UTC)}),
        status_code=status,
        headers={**_HEADERS, **headers},
        media_type="application/json",
    )


_HEADERS: Mapping[str, str] = {"cache-control": "no-store"}
"""Answers are about somebody's money; no cache on the way may keep them."""
