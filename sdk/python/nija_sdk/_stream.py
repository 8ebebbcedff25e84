"""A subscription to live updates that outlives its connections: what to send, what was received.

No input, no output. The server numbers what is committed, without gaps and in the order of commits,
over all channels of a user. One number therefore says how far we came, and resuming all channels
from it in one message brings every event that was missed, once and in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nija_sdk import _json
from nija_sdk.errors import APIError, NIJAError, UnexpectedResponseError, error_class

ANY = "*"
GAP = "gap"
CHANNELS = ("positions", "trades", "account", "bot")
CHANNEL_OF: Mapping[str, str] = {
    "position_update": "positions",
    "trade_executed": "trades",
    "account_update": "account",
    "bot_update": "bot",
    "bot_decision": "bot",
    "run_ended": "bot",
    "kill_switch": "bot",
}
TOKEN_REFUSED = 4401
PING = '{"type":"ping"}'
_FINAL = {4402: 402, 4403: 403}
_CANNOT_RESUME = "RESUME_NOT_POSSIBLE"


@dataclass(frozen=True, slots=True)
class Event:
    """One update.

    Attributes:
        type: what happened, such as `position_update`. `gap` is our own word: events were missed
            for good, so read the state anew.
        channel: where it was told.
        data: its facts; numbers with a fraction are Decimal.
        seq: its number; None for values that go by, such as prices.
    """

    type: str
    channel: str
    data: Mapping[str, Any]
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What a message amounts to: updates to hand on, and messages to send back."""

    events: tuple[Event, ...] = ()
    replies: tuple[str, ...] = ()


class SubscriptionRefused(NIJAError):
    """The server cannot serve the channels at the moment, though the connection stands."""


class Stream:
    """The channels of a client, and the number of the last event it was handed."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.is_accepted = False
        self.is_ready = False
        self._channels: dict[str, None] = {}
        self._refusal: tuple[str, str] | None = None

    def want(self, *channels: str) -> list[str]:
        """Note channels; returns the messages to send on an open connection."""
        unknown = [channel for channel in channels if channel not in CHANNELS]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: the channels are {', '.join(CHANNELS)}")
        new = [channel for channel in dict.fromkeys(channels) if channel not in self._channels]
        self._channels.update(dict.fromkeys(new))
        return list(_subscriptions(new, None))

    def authentication(self, access_token: str) -> str:
        """The first message of a connection."""
        self._refusal = None
        self.is_accepted = False
        self.is_ready = False
        return json.dumps({"type": "auth", "token": f"Bearer {access_token}"})

    def receive(self, text: str | bytes) -> Received:
        """Understand a message; an event that was handed on before is not handed on again.

        Raises:
            SubscriptionRefused: connect again.
            UnexpectedResponseError: this is no message of the server.
        """
        try:
            message = _json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError) as error:
            raise UnexpectedResponseError("A live message without a type") from error
        if kind == "auth_success":
            self.is_accepted = True
            self.is_ready = not self._channels
            return Received(replies=tuple(_subscriptions(list(self._channels), self.position)))
        if kind == "subscribed":
            self._note_start(message)
            return Received()
        if kind == "pong":
            self._note_silence(message.get("latest_seq"))
            return Received()
        if kind == "error":
            return self._refused(str(message.get("code")), str(message.get("message")))
        return Received(tuple(self._news(kind, message)))

    def is_token_refused(self, code: int) -> bool:
        """Whether the server closed because of the token, and not because it came too late."""
        return code == TOKEN_REFUSED and self._refusal is not None

    def failure(self, code: int, reason: str) -> APIError | None:
        """Why the server closed for good; None when connecting again makes sense."""
        status = 401 if self.is_token_refused(code) else _FINAL.get(code)
        if status is None:
            return None
        told, message = self._refusal or (f"WS_{code}", reason or "The connection was refused")
        return error_class(status)(message, status=status, code=told, details={}, request_id=None)

    def _news(self, kind: str, message: Mapping[str, Any]) -> Iterator[Event]:
        if "channel" not in message or "data" not in message:
            return  # unsubscribed, and what later servers may say
        seq = message.get("seq")
        if seq is not None:
            if self.position is not None and seq <= self.position:
                return
            self.position = seq
        yield Event(kind, message["channel"], message["data"], seq)

    def _note_start(self, message: Mapping[str, Any]) -> None:
        self.is_ready = True
        # A channel added later begins where we are, or further back, which changes nothing.
        if self.position is None:
            self.position = message.get("seq")

    def _note_silence(self, latest: int | None) -> None:
        # All that was ours up to this number has come; what else happened is not missed.
        if latest is not None and self.position is not None and self.is_ready:
            self.position = max(self.position, latest)

    def _refused(self, code: str, message: str) -> Received:
        if code != _CANNOT_RESUME:
            if self.is_accepted:
                raise SubscriptionRefused(f"{code}: {message}")
            self._refusal = (code, message)  # a close follows
            return Received()
        lost_since, self.position = self.position, None
        gap = Event(GAP, ANY, {"since": lost_since, "message": message})
        return Received((gap,), tuple(_subscriptions(list(self._channels), None)))


def _subscriptions(channels: list[str], position: int | None) -> Iterator[str]:
    if channels:
        resume = {} if position is None else {"resume_from": position}
        yield json.dumps({"type": "subscribe", "channels": channels, **resume})
