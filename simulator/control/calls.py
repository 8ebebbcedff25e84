"""One control call: its body, its failures, and how handlers become endpoints."""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from simulator.exchange import Exchange

Handler = Callable[[Request], Awaitable[dict[str, Any] | Response]]


class BadControlCallError(Exception):
    """A control call that cannot be done; the message says why."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def exchange_of(request: Request) -> Exchange:
    """Return the exchange that is controlled."""
    exchange: Exchange = request.app.state.exchange
    return exchange


async def body_of(request: Request) -> dict[str, Any]:
    """Return the body as an object; an empty body is an empty one.

    Raises:
        BadControlCallError: It is none.
    """
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise BadControlCallError("the body is not JSON", 400) from error
    if not isinstance(body, dict):
        raise BadControlCallError("the body is not an object", 400)
    return body


def loopback_only(handler: Handler, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a handler that peers on this machine may call."""

    async def endpoint(request: Request) -> Response:
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            return JSONResponse({"error": "control calls are for loopback peers only"}, 403)
        try:
            answer = await handler(request)
        except BadControlCallError as error:
            return JSONResponse({"error": str(error)}, error.status)
        return answer if isinstance(answer, Response) else JSONResponse(answer, status)

    return endpoint
