"""One client: its channels, what it has had, and what it is sent.

Whatever comes from the hub is written at once or not at all; a client that does not keep up is
closed with a code, and resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, Protocol
from uuid import UUID

import structlog

from api.kit.problem import MALFORMED_BODY, Problem, problem_of
from api.kit.stream.codec import (
    Authenticate,
    BadMessage,
    Codec,
    Command,
    Ping,
    Subscribe,
    Unsubscribe,
)
from api.kit.stream.protocol import Outlet, text_frame
from domain.errors import DomainError, ErrorKind
from models.events import Channel
from services.errors import TokenExpired, TokenInvalid
from services.events.values import Event
from services.reads import Claims

AUTH_SECONDS = 10.0
ADMISSION_SECONDS = 10.0
BACKLOG_BYTES_MAX = 512 * 1024
VALUES_BACKLOG_BYTES_MAX = 32 * 1024
HELD_MAX = 1_000
REPLAYED_AT_ONCE = 50
MESSAGES_MAX, MESSAGES_SECONDS = 60, 10.0
ALREADY_SUBSCRIBED = "already_subscribed"

_log = structlog.get_logger("nija.streams")


class Close(IntEnum):
    """Why the server closes; codes from 4000 on are the application's own."""

    TRY_LATER = 1013
    TOKEN = 4401
    PLAN = 4402
    FORBIDDEN = 4403
    SLOW = 4408
    LOST = 4410
    TOO_MANY = 4429


_CLOSE_OF_KIND = {
    ErrorKind.UNAUTHENTICATED: Close.TOKEN,
    ErrorKind.PAYMENT_REQUIRED: Close.PLAN,
    ErrorKind.FORBIDDEN: Close.FORBIDDEN,
    ErrorKind.LIMIT_REACHED: Close.TOO_MANY,
    ErrorKind.RATE_LIMITED: Close.TOO_MANY,
}


class Admitted(Protocol):
    """What the hub knows of a caller it let in."""

    @property
    def claims(self) -> Claims:
        """Who it is."""
        ...

    @property
    def seconds_left(self) -> float:
        """How long the token is good."""
        ...


class Desk(Protocol):
    """What a connection asks of its hub. All raise DomainErrors for refusals."""

    async def admit(self, connection: Connection, token: str) -> Admitted:
        """Let a caller in; its events come from now on."""
        ...

    async def turn_away(self, connection: Connection, failure: DomainError) -> DomainError:
        """Count a login that failed; answers what the client is told."""
        ...

    def position(self, user_id: UUID) -> int:
        """The number of the last event that was delivered."""
        ...

    async def replay(
        self, claims: Claims, channels: Sequence[Channel], *, after: int, until: int
    ) -> list[Event]:
        """Events between two numbers."""
        ...

    def values_wanted(self, user_id: UUID) -> None:
        """Somebody new watches a user's values."""
        ...

    def kill_switches_wanted(self, connection: Connection) -> None:
        """Somebody new follows their bot."""
        ...


Receive = Callable[[], Awaitable[Any]]


class Gone(Exception):
    """The client is not there any more."""


class Connection:
    """A client's side of the hub.

    Args:
        outlet: where its frames go.
        codec: its dialect.
        desk: the hub.
        address: the client's, where it is known.
    """

    def __init__(
        self, outlet: Outlet, codec: Codec, desk: Desk, address: str | None = None
    ) -> None:
        self.codec = codec
        self.address = address
        self.claims: Claims | None = None
        self._outlet = outlet
        self._desk = desk
        self._channels: dict[Channel, int] = {}  # with the number after which they are wanted
        self._held: list[tuple[Event, bytes]] | None = None  # while the past is being replayed
        self._replaying: frozenset[Channel] = frozenset()
        self._expiry: asyncio.TimerHandle | None = None

    # --- what the hub hands over: never waits -----------------------------------------------

    def wants(self, event: Event) -> bool:
        """Whether an event is to be offered."""
        after = self._channels.get(event.channel)
        return after is not None and event.seq > after

    def offer(self, event: Event, frame: bytes) -> None:
        """Send a committed event, now or behind the replay that is under way."""
        if self._held is not None and event.channel in self._replaying:
            self._held.append((event, frame))
            if len(self._held) > HELD_MAX:
                self.close(Close.SLOW, "Too slow for its events")
            return
        self._write(frame)

    def watches(self, *channels: Channel) -> bool:
        """Whether any of these channels is subscribed."""
        return any(channel in self._channels for channel in channels)

    def offer_value(self, frame: bytes) -> None:
        """Send a value, unless the client is behind: it will get a newer one."""
        if self._outlet.backlog < VALUES_BACKLOG_BYTES_MAX:
            self._outlet.write(frame)

    def refuse(self, refusal: DomainError) -> None:
        """Say why, and close."""
        problem = problem_of(refusal)
        self._say(self.codec.failed(problem))
        self.close(_CLOSE_OF_KIND.get(problem.kind, Close.TRY_LATER), problem.message)

    def close(self, code: Close, reason: str) -> None:
        """Close with a code."""
        if code is Close.SLOW:
            _log.warning("stream.slow_client", backlog=self._outlet.backlog)
        self._channels.clear()
        self._outlet.close(code, reason)

    def _write(self, frame: bytes) -> None:
        self._outlet.write(frame)
        if self._outlet.backlog > BACKLOG_BYTES_MAX:
            self.close(Close.SLOW, "Too slow for its events")

    def _say(self, payload: bytes) -> None:
        self._write(text_frame(payload))

    # --- what the client says ---------------------------------------------------------------

    async def run(self, receive: Receive) -> None:
        """Serve until either side closes."""
        messages = _Messages(receive)
        try:
            await self._enter(messages)
            while True:
                await self._serve(messages)
        except Gone:
            return
        except DomainError as refusal:  # of the first token, or of a fresh one
            self.refuse(await self._desk.turn_away(self, refusal))
        finally:
            if self._expiry is not None:
                self._expiry.cancel()

    async def _enter(self, messages: _Messages) -> None:
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                command = self.codec.read(await messages.next())
        except TimeoutError:
            raise TokenInvalid("No token came in time") from None
        except BadMessage as bad:
            self._say(self.codec.failed(bad.problem))
            raise TokenInvalid("The first message has to be auth") from bad
        if not isinstance(command, Authenticate):
            raise TokenInvalid("The first message has to be auth")
        try:
            async with asyncio.timeout(ADMISSION_SECONDS):
                await self._authenticate(command)
        except TimeoutError:
            # It is we who are slow: the token may be good, and its owner is to come back with it.
            self.close(Close.TRY_LATER, "Too busy; try again later")
            raise Gone from None

    async def _authenticate(self, command: Authenticate) -> None:
        admitted = await self._desk.admit(self, command.token)
        self.claims = admitted.claims
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(admitted.seconds_left, self._expire)
        user_id = admitted.claims.user_id
        position = self._desk.position(user_id)
        self._say(self.codec.authenticated(user_id, self._subscriptions(), position))

    def _expire(self) -> None:
        self.refuse(TokenExpired())

    async def _serve(self, messages: _Messages) -> None:
        try:
            if messages.are_too_many:
                self.close(Close.TOO_MANY, "Too many messages")
                raise Gone
            await self._carry_out(self.codec.read(await messages.next()))
        except BadMessage as bad:
            self._say(self.codec.failed(bad.problem))

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Authenticate():
                await self._authenticate(command)
            case Subscribe(channels, None):
                self._subscribe(channels)
            case Subscribe(channels, int(after)):
                await self._resume(channels, after)
            case Unsubscribe():
                for channel in command.channels:
                    self._channels.pop(channel, None)
                self._say(self.codec.unsubscribed(command.channels, self._subscriptions()))
            case Ping():
                self._say(self.codec.pong(command.echo, self._desk.position(self._user_id)))

    def _subscribe(self, channels: Sequence[Channel]) -> None:
        position = self._desk.position(self._user_id)
        for channel in channels:
            self._channels.setdefault(channel, position)
        self._confirm(channels, position, resumed=False)

    async def _resume(self, channels: Sequence[Channel], after: int) -> None:
        """Send what came after a number, and behind it, in order, what comes meanwhile."""
        if self.watches(*channels):
            message = "Unsubscribe before resuming a channel"
            raise BadMessage(Problem(ErrorKind.CONFLICT, ALREADY_SUBSCRIBED, message))
        until = self._desk.position(self._user_id)
        assert self.claims is not None, "only who is let in is served"
        self._held, self._replaying = [], frozenset(channels)
        # A client may know more than this process has heard of yet.
        self._channels.update(dict.fromkeys(channels, max(until, after)))
        try:
            past = await self._desk.replay(self.claims, channels, after=after, until=until)
            self._confirm(channels, after, resumed=True)
            for number, event in enumerate(past, start=1):
                self._write(text_frame(self.codec.event(event)))
                if number % REPLAYED_AT_ONCE == 0:
                    await self._outlet.drained()
        except DomainError as refusal:
            for channel in channels:
                self._channels.pop(channel, None)
            self._held = None
            raise BadMessage(problem_of(refusal)) from refusal
        held, self._held = self._held or [], None
        for _, frame in held:
            self._write(frame)

    def _confirm(self, channels: Sequence[Channel], since: int, *, resumed: bool) -> None:
        subscriptions = self._subscriptions()
        self._say(self.codec.subscribed(channels, subscriptions, since, resumed))
        if Channel.POSITIONS in channels or Channel.ACCOUNT in channels:
            self._desk.values_wanted(self._user_id)
        if Channel.BOT in channels:
            self._desk.kill_switches_wanted(self)

    def _subscriptions(self) -> list[Channel]:
        return list(self._channels)

    @property
    def _user_id(self) -> UUID:
        assert self.claims is not None, "only who is let in is served"
        return self.claims.user_id


class _Messages:
    """The client's messages, counted."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._times: list[float] = []

    async def next(self) -> str:
        """The next text.

        Raises:
            Gone: there will be none.
            BadMessage: it is not text.
        """
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise Gone
        self._times.append(asyncio.get_running_loop().time())
        text = message.get("text")
        if text is None:
            raise BadMessage(Problem(ErrorKind.INVALID, MALFORMED_BODY, "Send text, not bytes"))
        return str(text)

    @property
    def are_too_many(self) -> bool:
        """Whether the client talks more than any sensible one does."""
        since = asyncio.get_running_loop().time() - MESSAGES_SECONDS
        self._times = [time for time in self._times if time > since]
        return len(self._times) > MESSAGES_MAX


def frames_of(
    connections: Iterable[Connection], write: Callable[[Codec], bytes]
) -> Iterable[tuple[Connection, bytes]]:
    """A frame for each connection, written once for each dialect."""
    frames: dict[Codec, bytes] = {}
    for connection in connections:
        frame = frames.get(connection.codec)
        if frame is None:
            frame = frames[connection.codec] = text_frame(write(connection.codec))
        yield connection, frame
