"""The size limits of request bodies, counted as they arrive.

A body is parsed and judged in one go, while nothing else is answered: what is allowed bounds how
long that takes.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 64 * 1024
EVENT_BYTES_MAX = 1024 * 1024
"""Of events that other services sign; they are stored as they are."""

_TOO_LARGE = 413


class BodyLimit:
    """Refuses larger bodies from within `receive`.

    The exception surfaces where the body is read, inside a dialect's own exception handlers, so the
    answer comes in its envelope; an exception raised by a middleware itself would not.

    Args:
        app: what is served.
        bytes_max: the largest body.
        larger: paths with a larger one of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        bytes_max: int = BODY_BYTES_MAX,
        larger: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._larger = dict(larger or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        bytes_max = self._larger.get(scope["path"], self._bytes_max)
        announced = _content_length(scope)
        received = 0

        async def counted() -> Message:
            nonlocal received
            if announced > bytes_max:
                raise HTTPException(_TOO_LARGE)
            message = await receive()
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise HTTPException(_TOO_LARGE)
            return message

        await self._app(scope, counted, send)


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
