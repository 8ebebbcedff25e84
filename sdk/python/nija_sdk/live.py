"""Live updates over a WebSocket that comes back by itself and misses nothing.

The first connection has to succeed. Later ones are made again until `close`, unless the server says
that it is of no use: the session is over, or the plan has no live updates.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from nija_sdk._calls import USER_AGENT
from nija_sdk._retry import backoff
from nija_sdk._stream import (
    ANY,
    CHANNEL_OF,
    CHANNELS,
    GAP,
    PING,
    Event,
    Stream,
    SubscriptionRefused,
)
from nija_sdk._tokens import Tokens
from nija_sdk._transport import AsyncTransport, Transport
from nija_sdk.errors import APIConnectionError, NIJAError, ServerError

Handler = TypeVar("Handler", bound=Callable[[Any], Any])

OPEN_SECONDS = 10.0
QUIET_SECONDS = 20.0
"""After so long without a message we ask how far the server is; after as long again it is gone."""

_BROKEN = (OSError, TimeoutError, WebSocketException, SubscriptionRefused)
_log = logging.getLogger("nija_sdk")


class _Updates:
    """Handlers and channels."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stream = Stream()
        self._handlers: dict[str, list[Callable[[Any], Any]]] = {}

    @property
    def position(self) -> int | None:
        """The number of the last event; set it before connecting to go on from an earlier run."""
        return self._stream.position

    @position.setter
    def position(self, number: int | None) -> None:
        self._stream.position = number

    def on(self, event: str) -> Callable[[Handler], Handler]:
        """Call a function with the `data` of every such event; connecting subscribes its channel.

        Args:
            event: `position_update` and the like, `gap` when events were missed for good, or `*`
                for all, which are handed over as `Event`.
        """

        def register(handler: Handler) -> Handler:
            self._handlers.setdefault(event, []).append(handler)
            if event != GAP:
                channel = CHANNEL_OF.get(event)
                self._stream.want(*(CHANNELS if channel is None else [channel]))
            return handler

        return register

    def _results(self, event: Event) -> Iterator[Any]:
        for handler in self._handlers.get(event.type, ()):
            yield handler(event.data)
        for handler in self._handlers.get(ANY, ()):
            yield handler(event)


class _Attempts:
    """What the connections so far say about the next one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._was_accepted = False
        self._has_refreshed = False
        self._failed = 0

    def heard(self) -> None:
        """A message arrived."""
        if self._stream.is_accepted:
            self._was_accepted, self._has_refreshed = True, False
        if self._stream.is_ready:
            self._failed = 0

    def need_fresh_tokens(self, closed: ConnectionClosed, used: Tokens) -> bool:
        """Whether the tokens are to be exchanged before connecting again.

        Raises:
            APIError: connecting again is of no use.
        """
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (0, "")
        is_refused = self._stream.is_token_refused(code)
        if is_refused and used.refresh_token and not self._has_refreshed:
            return True
        if failure := self._stream.failure(code, reason):
            raise failure from None
        self.failed(closed)
        return False

    def refreshed(self) -> None:
        """The tokens were exchanged: one that is refused now is refused for good."""
        self._has_refreshed = True

    def failed(self, error: Exception) -> None:
        """A connection broke, or was not made.

        Raises:
            APIConnectionError: it was the first one.
        """
        if not self._was_accepted:
            told = f"No live updates: {error or type(error).__name__}"
            raise APIConnectionError(told) from error
        self._failed += 1
        _log.info("Live updates broke off, connecting again: %s", type(error).__name__)

    @property
    def seconds(self) -> float:
        """How long to wait before the next one."""
        return backoff(self._failed) if self._failed else 0.0


def _need(tokens: Tokens | None) -> Tokens:
    if tokens is None:
        raise NIJAError("Log in first: there is no token")
    return tokens


class LiveUpdates(_Updates):
    """Live updates, blocking; `close` may be called from another thread or a handler."""

    def __init__(self, transport: Transport, address: str) -> None:
        super().__init__(address)
        self._transport = transport
        self._connection: ClientConnection | None = None
        self._closed = threading.Event()

    def connect(self) -> None:
        """Listen, and call the handlers, until `close`.

        Raises:
            NIJAError: the server cannot be reached at first, or refuses.
        """
        for event in self.events():
            for _ in self._results(event):
                pass

    def events(self, *channels: str) -> Iterator[Event]:
        """Listen, and go through the updates until `close`.

        Args:
            channels: `positions`, `trades`, `account`, `bot`, besides those of the handlers.

        Raises:
            NIJAError: the server cannot be reached at first, or refuses.
        """
        self._stream.want(*channels)
        self._closed.clear()
        attempts = _Attempts(self._stream)
        while not self._closed.is_set():
            tokens = _need(self._transport.tokens.current)
            try:
                with self._open() as connection:
                    connection.send(self._stream.authentication(tokens.access_token))
                    for event in self._listen(connection):
                        attempts.heard()
                        if event is not None:
                            yield event
            except ConnectionClosed as closed:
                if attempts.need_fresh_tokens(closed, tokens):
                    self._refresh(attempts, tokens)
            except _BROKEN as error:
                attempts.failed(error)
            self._closed.wait(attempts.seconds)

    def _refresh(self, attempts: _Attempts, used: Tokens) -> None:
        try:
            self._transport.refresh(used)
            attempts.refreshed()
        except (APIConnectionError, ServerError) as error:
            attempts.failed(error)

    def subscribe(self, *channels: str) -> None:
        """Listen to more channels, also while connected."""
        messages = self._stream.want(*channels)
        if self._connection is not None and self._stream.is_accepted:
            with suppress(ConnectionClosed):  # the next one asks for all channels
                for message in messages:
                    self._connection.send(message)

    def close(self) -> None:
        """End `connect` and `events`."""
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.close()

    def _open(self) -> ClientConnection:
        return connect(self._address, open_timeout=OPEN_SECONDS, user_agent_header=USER_AGENT)

    def _listen(self, connection: ClientConnection) -> Iterator[Event | None]:
        """Updates of one connection; None for each message that is none."""
        self._connection = connection
        try:
            while not self._closed.is_set():
                received = self._stream.receive(self._next(connection))
                for reply in received.replies:
                    connection.send(reply)
                yield from received.events or (None,)
        except ConnectionClosed:
            if not self._closed.is_set():
                raise
        finally:
            self._connection = None

    @staticmethod
    def _next(connection: ClientConnection) -> str | bytes:
        try:
            return connection.recv(timeout=QUIET_SECONDS)
        except TimeoutError:
            connection.send(PING)
        return connection.recv(timeout=QUIET_SECONDS)


class AsyncLiveUpdates(_Updates):
    """As `LiveUpdates`, for an event loop; handlers may be asynchronous."""

    def __init__(self, transport: AsyncTransport, address: str) -> None:
        super().__init__(address)
        self._transport = transport
        self._connection: AsyncConnection | None = None
        self._closed = asyncio.Event()

    async def connect(self) -> None:
        """Listen, and call the handlers, until `close`.

        Raises:
            NIJAError: the server cannot be reached at first, or refuses.
        """
        async for event in self.events():
            for result in self._results(event):
                if inspect.isawaitable(result):
                    await result

    async def events(self, *channels: str) -> AsyncIterator[Event]:
        """Listen, and go through the updates until `close`.

        Args:
            channels: `positions`, `trades`, `account`, `bot`, besides those of the handlers.

        Raises:
            NIJAError: the server cannot be reached at first, or refuses.
        """
        self._stream.want(*channels)
        self._closed.clear()
        attempts = _Attempts(self._stream)
        while not self._closed.is_set():
            tokens = _need(self._transport.tokens.current)
            try:
                async with self._open() as connection:
                    await connection.send(self._stream.authentication(tokens.access_token))
                    async for event in self._listen(connection):
                        attempts.heard()
                        if event is not None:
                            yield event
            except ConnectionClosed as closed:
                if attempts.need_fresh_tokens(closed, tokens):
                    await self._refresh(attempts, tokens)
            except _BROKEN as error:
                attempts.failed(error)
            await self._pause(attempts.seconds)

    async def _refresh(self, attempts: _Attempts, used: Tokens) -> None:
        try:
            await self._transport.refresh(used)
            attempts.refreshed()
        except (APIConnectionError, ServerError) as error:
            attempts.failed(error)

    async def subscribe(self, *channels: str) -> None:
        """Listen to more channels, also while connected."""
        messages = self._stream.want(*channels)
        if self._connection is not None and self._stream.is_accepted:
            with suppress(ConnectionClosed):  # the next one asks for all channels
                for message in messages:
                    await self._connection.send(message)

    async def close(self) -> None:
        """End `connect` and `events`."""
        self._closed.set()
        connection = self._connection
        if connection is not None:
            await connection.close()

    def _open(self) -> connect_async:
        return connect_async(self._address, open_timeout=OPEN_SECONDS, user_agent_header=USER_AGENT)

    async def _listen(self, connection: AsyncConnection) -> AsyncIterator[Event | None]:
        """Updates of one connection; None for each message that is none."""
        self._connection = connection
        try:
            while not self._closed.is_set():
                received = self._stream.receive(await self._next(connection))
                for reply in received.replies:
                    await connection.send(reply)
                for event in received.events or (None,):
                    yield event
        except ConnectionClosed:
            if not self._closed.is_set():
                raise
        finally:
            self._connection = None

    @staticmethod
    async def _next(connection: AsyncConnection) -> str | bytes:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                return await connection.recv()
        except TimeoutError:
            await connection.send(PING)
        async with asyncio.timeout(QUIET_SECONDS):
            return await connection.recv()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return
