"""The outermost ASGI layer: request id, origin, log context, metrics and common headers.

It decides nothing and refuses nothing; refusals belong inside a dialect, where they get its
envelope.
"""

from __future__ import annotations

import re
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.kit.metrics import observe, route_of
from api.kit.proxies import TrustedProxies
from api.kit.rate_limits import headers_of
from services.admin.traffic import Traffic
from services.errors import explain
from services.origin import USER_AGENT_LENGTH_MAX, Origin, reset_origin, set_origin

REQUEST_ID = "x-request-id"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SERVER_ERROR = 500
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_log = structlog.get_logger("nija.api")


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            token = set_origin(self._origin(scope, Headers(scope=scope)))
            try:
                await self._app(scope, receive, send)
            finally:
                reset_origin(token)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})  # one for every layer; the meter is left in it
        request_id = _request_id(headers.get(REQUEST_ID))
        origin = self._origin(scope, headers)
        # Taken now: the applications further in put themselves in its place.
        traffic: Traffic | None = getattr(scope["app"].state, "traffic", None)
        status, answered = _SERVER_ERROR, False
        began = perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                answer = MutableHeaders(scope=message)
                answer[REQUEST_ID] = request_id
                answer["x-content-type-options"] = "nosniff"
                for name, value in headers_of(scope):
                    answer[name] = value
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        token = set_origin(origin)
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as failure:
            _report(failure)
            if not answered:
                raise
        finally:
            seconds = perf_counter() - began
            observe(scope, status, seconds)
            if traffic is not None:
                traffic.note(status, seconds)
            _note(scope, status, seconds)
            reset_origin(token)
            structlog.contextvars.clear_contextvars()

    def _origin(self, scope: Scope, headers: Headers) -> Origin:
        peer = scope["client"][0] if scope.get("client") else None
        agent = headers.get("user-agent")
        return Origin(
            ip=self._proxies.client_address(peer, ",".join(headers.getlist("x-forwarded-for"))),
            # It ends in rows, and no row takes a NUL.
            user_agent=agent.replace("\0", "")[:USER_AGENT_LENGTH_MAX] if agent else None,
        )


def _request_id(offered: str | None) -> str:
    """The caller's id where it is harmless in a log line, else one of ours."""
    return offered if offered and _REQUEST_ID_FORM.fullmatch(offered) else uuid4().hex


def _report(failure: Exception) -> None:
    if explain(failure) is None:
        _log.error("request.crashed", exc_info=failure)
    else:
        _log.warning("request.dependency_failed", failure=type(failure).__name__)


def _note(scope: Scope, status: int, seconds: float) -> None:
    quiet = scope["method"] in _SAFE_METHODS and status < _SERVER_ERROR
    write = _log.debug if quiet else _log.info
    write(
        "request.answered",
        method=scope["method"],
        route=route_of(scope),
        status=status,
        milliseconds=round(seconds * 1000, 1),
    )
