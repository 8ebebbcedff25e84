"""A call before and after the network: request parts, headers, and what the answer means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from nija_sdk import _json
from nija_sdk._version import VERSION
from nija_sdk.errors import APIError, UnexpectedResponseError, error_class

USER_AGENT = f"nija-sdk-python/{VERSION}"
_PLACE = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint.

    Attributes:
        keyed: it takes an Idempotency-Key, so that repeating it is safe.
        public: it needs no token.
    """

    method: str
    path: str
    keyed: bool = False
    public: bool = False

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an endpoint; its key stays the same however often it is sent.

    Attributes:
        path: the path with its parameters filled in.
        query: parameters, without those left out.
        content: the rendered body.
        headers: everything but the token.
    """

    operation: Operation
    path: str
    query: Mapping[str, str]
    content: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def make_call(
    operation: Operation,
    *,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    raw: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
    idempotency_key: str | None = None,
) -> Call:
    """Put a call together; None means left out.

    Args:
        operation: the endpoint.
        path: values of the path's parameters.
        query: values of the query's parameters.
        body: members of the JSON body.
        raw: a body that goes out byte for byte.
        headers: more headers.
        idempotency_key: the caller's key; a fresh one where there is none.
    """
    sent = {name: value for name, value in (headers or {}).items() if value is not None}
    sent |= {"Accept": "application/json", "User-Agent": USER_AGENT}
    if operation.keyed:
        sent["Idempotency-Key"] = idempotency_key or uuid4().hex
    content = raw
    if body is not None:
        content = _json.dumps({name: item for name, item in body.items() if item is not None})
    if content is not None:
        sent["Content-Type"] = "application/json"
    return Call(
        operation,
        _PLACE.sub(lambda place: quote((path or {})[place[1]], safe=""), operation.path),
        {name: _json.to_text(item) for name, item in (query or {}).items() if item is not None},
        content,
        sent,
    )


def read_answer(response: httpx.Response) -> Any:
    """The `data` of an answer.

    Raises:
        APIError: the server refused, or failed.
        UnexpectedResponseError: no envelope where there should be one.
    """
    if not response.is_success:
        raise read_failure(response)
    envelope = _envelope(response)
    if "data" not in envelope:
        raise UnexpectedResponseError(f"{response.status_code} without an envelope")
    return envelope["data"]


def read_failure(response: httpx.Response) -> APIError:
    """The exception that a refusal amounts to."""
    error = _envelope(response).get("error")
    told: Mapping[str, Any] = error if isinstance(error, dict) else {}
    return error_class(response.status_code)(
        str(told.get("message") or response.reason_phrase or "No explanation"),
        status=response.status_code,
        code=str(told.get("code") or f"HTTP_{response.status_code}"),
        details=told.get("details") or {},
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after(response),
    )


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait; both forms of the header."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())


def has_envelope(response: httpx.Response) -> bool:
    """Whether the API itself answered, and not something before it."""
    return "success" in _envelope(response)


def _envelope(response: httpx.Response) -> Mapping[str, Any]:
    try:
        found = _json.loads(response.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
