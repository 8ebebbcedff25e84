"""`/ws/v1`: live updates in the NIJA dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from api.kit.problem import INVALID_REQUEST, MALFORMED_BODY, Problem
from api.kit.stream.codec import (
    Authenticate,
    BadMessage,
    Command,
    Ping,
    Subscribe,
    Unsubscribe,
)
from api.kit.stream.hub import Hub
from api.kit.stream.protocol import outlet_of
from api.kit.wire import to_json, wire_id
from api.nija.errors import wire_error
from api.nija.frames import account_worth, frame_of, kill_switch, position_worth
from api.nija.schemas.stream import (
    MESSAGES,
    AuthMessage,
    PingMessage,
    SubscribeMessage,
    UnsubscribeMessage,
)
from domain.errors import ErrorKind
from models.events import Channel
from services.events.prices import AccountWorth, PositionWorth
from services.events.values import Event

PATH = "/ws/v1"
USER = "usr"
_BEARER = "bearer "
_TYPES = frozenset({"auth", "subscribe", "unsubscribe", "ping"})


class NijaCodec:
    """The messages of `/ws/v1`."""

    def read(self, text: str) -> Command:
        """Read a client's message.

        Raises:
            BadMessage: it makes no sense.
        """
        try:
            message = MESSAGES.validate_python(orjson.loads(text))
        except orjson.JSONDecodeError:
            malformed = Problem(ErrorKind.INVALID, MALFORMED_BODY, "The message is not valid JSON")
            raise BadMessage(malformed) from None
        except ValidationError as invalid:
            raise BadMessage(_problem(invalid)) from None
        match message:
            case AuthMessage():
                return Authenticate(_without_bearer(message.token))
            case SubscribeMessage():
                return Subscribe(message.asked, message.resume_from)
            case UnsubscribeMessage():
                return Unsubscribe(message.asked)
            case PingMessage():
                return Ping(message.id)

    def authenticated(self, user_id: UUID, channels: Sequence[Channel], latest: int) -> bytes:
        """The token was good."""
        return to_json(
            {
                "type": "auth_success",
                "user_id": wire_id(USER, user_id),
                "subscriptions": channels,
                "latest_seq": latest,
            }
        )

    def subscribed(
        self, asked: Sequence[Channel], channels: Sequence[Channel], since: int, resumed: bool
    ) -> bytes:
        """Every event after number `since` follows."""
        return to_json(
            {
                "type": "subscribed",
                **_named(asked),
                "subscriptions": channels,
                "seq": since,
                "resumed": resumed,
            }
        )

    def unsubscribed(self, asked: Sequence[Channel], channels: Sequence[Channel]) -> bytes:
        """Nothing of these channels follows."""
        return to_json({"type": "unsubscribed", **_named(asked), "subscriptions": channels})

    def pong(self, echo: str | None, latest: int) -> bytes:
        """The answer to a ping; every subscribed event up to number `latest` was sent before."""
        named = {} if echo is None else {"id": echo}
        now = datetime.now(UTC)
        return to_json({"type": "pong", **named, "latest_seq": latest, "timestamp": now})

    def failed(self, problem: Problem) -> bytes:
        """A refusal."""
        return to_json(
            {
                "type": "error",
                "code": wire_error(problem.kind, problem.code).code,
                "message": problem.message,
                "details": problem.details,
                "timestamp": datetime.now(UTC),
            }
        )

    def event(self, event: Event) -> bytes:
        """A committed event."""
        kind, data = frame_of(event)
        return to_json(
            {
                "type": kind,
                "channel": event.channel,
                "seq": event.seq,
                "data": data,
                "timestamp": event.at,
            }
        )

    def position(self, worth: PositionWorth) -> bytes:
        """A position at a new price."""
        return _value("position_update", Channel.POSITIONS, position_worth(worth))

    def account(self, worth: AccountWorth) -> bytes:
        """An account at new prices."""
        return _value("account_update", Channel.ACCOUNT, account_worth(worth))

    def kill_switches(self, active: Sequence[Mapping[str, Any]]) -> bytes:
        """The kill switches that hold for everybody."""
        data = kill_switch(active=False, scope="global", venue=None, reason="", since=None)
        if active:
            first = active[0]
            data = kill_switch(
                active=True,
                scope=first["scope"],
                venue=first["venue"],
                reason=first["reason"],
                since=first["engaged_at"],
            )
        return _value("kill_switch", Channel.BOT, data)


CODEC = NijaCodec()


def stream_route(origins: Sequence[str]) -> WebSocketRoute:
    """The route of `/ws/v1`.

    Args:
        origins: pages of other hosts that may connect; pages of our own host always may.
    """
    return WebSocketRoute(PATH, _Endpoint(frozenset(origins)), name="stream")


class _Endpoint:
    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        hub: Hub | None = getattr(socket.app.state, "hub", None)
        if hub is None or not _is_allowed(socket.headers, self._origins):
            await socket.close()  # before it is accepted: HTTP 403
            return
        await socket.accept()
        await hub.serve(outlet_of(scope), CODEC, socket.receive)


def _is_allowed(headers: Headers, origins: frozenset[str]) -> bool:
    """Whether the page that connects may; programs send no origin."""
    origin = headers.get("origin")
    return origin is None or origin in origins or urlsplit(origin).netloc == headers.get("host")


def _value(kind: str, channel: Channel, data: Mapping[str, Any]) -> bytes:
    return to_json({"type": kind, "channel": channel, "data": data, "timestamp": datetime.now(UTC)})


def _named(asked: Sequence[Channel]) -> dict[str, Any]:
    """One channel under its own name, as it was asked for; several as a list besides."""
    return {"channel": asked[0] if len(asked) == 1 else None, "channels": asked}


def _without_bearer(token: str) -> str:
    is_prefixed = token[: len(_BEARER)].lower() == _BEARER
    return token[len(_BEARER) :].strip() if is_prefixed else token


def _problem(invalid: ValidationError) -> Problem:
    # Only our own words about each field: what was sent may be a token.
    fields = {
        ".".join(str(part) for part in error["loc"] if part not in _TYPES) or "message": error[
            "msg"
        ]
        for error in invalid.errors(include_input=False, include_url=False, include_context=False)
    }
    return Problem(
        ErrorKind.INVALID, INVALID_REQUEST, "The message is not valid", {"fields": fields}
    )
