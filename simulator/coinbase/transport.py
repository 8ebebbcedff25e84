"""Transport faults over HTTP: what the client sees of a call instead of a plain answer."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from simulator.coinbase.errors import ApiError, UnauthorizedError
from simulator.faults.kinds import Kind
from simulator.faults.plan import Hit

_TRANSPORT: Final = "simulator.transport"
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: closing sends a reset
_UNAVAILABLE: Final = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"


@dataclass(frozen=True)
class ConnectionAccess:
    """The outermost layer: gives responses access to the connection, which ASGI does not."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, lifespan events included."""
        # Uvicorn's `send` is a method of the request's cycle, which knows its connection.
        cycle = getattr(send, "__self__", None)
        if scope["type"] == "http":
            scope[_TRANSPORT] = getattr(cycle, "transport", None)
        await self.app(scope, receive, send)


class NoAnswer(Response):
    """Ends the connection without an answer: after some time, or by a reset at once."""

    def __init__(self, *, seconds: float | None) -> None:
        """Make it.

        Args:
            seconds: How long the client is kept waiting; None resets the connection.
        """
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait until the time is over or the client is gone, then end the connection."""
        if self._seconds is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await _until_gone(receive)
        await _end(scope, receive, is_reset=self._seconds is None)


class CutOffAnswer(Response):
    """Announces a whole body and sends a part of it."""

    def __init__(self, whole: Response, share: float) -> None:
        super().__init__(status_code=whole.status_code)
        self.raw_headers = whole.raw_headers
        # At least one byte is missing, whatever the share.
        self.body = bytes(whole.body)[: min(len(whole.body) - 1, int(len(whole.body) * share))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part and end the connection."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await _end(scope, receive, is_reset=False)


async def answer(hit: Hit, perform: Callable[[], Response]) -> Response:
    """Return what the client sees; `perform` makes the call take effect.

    Raises:
        ApiError: That is what it sees.
    """
    if not hit.is_applied:
        return _instead(hit)
    if hit.kind is Kind.TIMEOUT:
        # The client may be gone by then; its request is on its way all the same.
        await asyncio.sleep(hit.number_of("late_seconds"))
    reply = perform()
    if hit.kind is Kind.CUT_OFF:
        return CutOffAnswer(reply, hit.number_of("share"))
    if hit.kind is Kind.SLOW:
        await asyncio.sleep(hit.number_of("seconds"))
        return reply
    return _instead(hit)


def _instead(hit: Hit) -> Response:
    match hit.kind:
        case Kind.TIMEOUT:
            return NoAnswer(seconds=hit.number_of("seconds"))
        case Kind.RESET:
            return NoAnswer(seconds=None)
        case Kind.EMPTY_BODY:
            return Response(media_type="application/json")
        case Kind.SERVER_ERROR:
            return _server_error(round(hit.number_of("status")), hit.text("body"))
        case Kind.RATE_LIMITED:
            raise _rate_limited(hit)
        case Kind.KEYS_REFUSED:
            raise UnauthorizedError("these keys are refused at present")
        case _:
            return HTMLResponse(_UNAVAILABLE, 503)


def _server_error(status: int, form: str) -> Response:
    if form == "html":
        return HTMLResponse(f"<html><body><h1>{status}</h1></body></html>", status)
    if form == "empty":
        return Response(status_code=status)
    raise ApiError(status, "internal_server_error", "Internal server error")


def _rate_limited(hit: Hit) -> ApiError:
    wait_ms = hit.milliseconds("retry_after")
    headers = {} if wait_ms is None else {"Retry-After": str(-(-wait_ms // 1000))}
    return ApiError(429, "rate_limit_exceeded", "Too many requests", headers)


async def _end(scope: Scope, receive: Receive, *, is_reset: bool) -> None:
    connection: Any = scope[_TRANSPORT]
    assert connection is not None, "transport faults need a server that shows its connections"
    if is_reset:
        connected: Any = connection.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.abort()
    else:
        connection.close()
    # The server would answer for an application that returns while the client is still there.
    await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
