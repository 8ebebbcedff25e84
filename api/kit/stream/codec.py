"""What a dialect brings: how its clients' messages are read, and how its frames are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from api.kit.problem import Problem
from models.events import Channel
from services.events.prices import AccountWorth, PositionWorth
from services.events.values import Event


@dataclass(frozen=True, slots=True, repr=False)
class Authenticate:
    """Say who is listening; again with a fresh token to go on beyond the old one's end."""

    token: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Listen to channels; with `resume_from` also to what came after that number."""

    channels: tuple[Channel, ...]
    resume_from: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Listen to channels no more."""

    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask whether the other end lives; `echo` comes back."""

    echo: str | None = None


Command = Authenticate | Subscribe | Unsubscribe | Ping


class BadMessage(Exception):
    """A client's message makes no sense; the problem says why, without repeating it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Codec(Protocol):
    """A dialect's words. All methods but `read` give the JSON text of a frame."""

    def read(self, text: str) -> Command:
        """Read a client's message.

        Raises:
            BadMessage: it makes no sense.
        """
        ...

    def authenticated(self, user_id: UUID, channels: Sequence[Channel], latest: int) -> bytes:
        """The token was good; `latest` is the number of the user's last event."""
        ...

    def subscribed(
        self, asked: Sequence[Channel], channels: Sequence[Channel], since: int, resumed: bool
    ) -> bytes:
        """Every event after number `since` follows."""
        ...

    def unsubscribed(self, asked: Sequence[Channel], channels: Sequence[Channel]) -> bytes:
        """Nothing of these channels follows."""
        ...

    def pong(self, echo: str | None, latest: int) -> bytes:
        """The answer to a ping; every subscribed event up to number `latest` was sent before."""
        ...

    def failed(self, problem: Problem) -> bytes:
        """A refusal."""
        ...

    def event(self, event: Event) -> bytes:
        """A committed event."""
        ...

    def position(self, worth: PositionWorth) -> bytes:
        """A position at a new price."""
        ...

    def account(self, worth: AccountWorth) -> bytes:
        """An account at new prices."""
        ...

    def kill_switches(self, active: Sequence[Mapping[str, Any]]) -> bytes:
        """The kill switches that hold for everybody."""
        ...
