"""One process's ear at PostgreSQL: committed events, read in batches and handed to their users.

A notification carries ids only: whose event, and its number. Whatever arrives within some
milliseconds is read by one query. Each user has a position; numbers have no gaps, so what is read
from there on is everything, once and in order, also after the connection was lost and made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol
from uuid import UUID

import structlog

from services.events.reading import EventsUnavailable, SystemReads
from services.events.values import Event

GATHER_SECONDS = 0.005
"""How long notifications are gathered before their events are read."""

USERS_A_READ = 250
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.05, 2.0

_log = structlog.get_logger("nija.events")


class Audience(Protocol):
    """Everybody who listens to one user's events in this process. Must not block."""

    def deliver(self, events: Sequence[Event]) -> None:
        """Take the next events."""
        ...

    def lose(self) -> None:
        """Events are gone before they could be read."""
        ...


class _Feed:
    def __init__(self, audience: Audience, position: int) -> None:
        self.audience = audience
        self.position = position

    def take(self, events: Sequence[Event]) -> None:
        if events[0].seq != self.position + 1:
            self.audience.lose()
        self.position = events[-1].seq
        self.audience.deliver(events)


class Feeds:
    """The streams of all users somebody in this process listens to.

    Args:
        reads: connections that see every user's events.
    """

    def __init__(self, reads: SystemReads) -> None:
        self._reads = reads
        self._feeds: dict[UUID, _Feed] = {}
        self._behind: set[UUID] = set()
        self._something = asyncio.Event()
        self._on_access: Callable[[UUID | None], None] = _ignore_user
        self._on_kill_switch: Callable[[], None] = _ignore

    def tell(
        self, *, on_access: Callable[[UUID | None], None], on_kill_switch: Callable[[], None]
    ) -> None:
        """Name who is told of what is nobody's event.

        Args:
            on_access: a user's sessions or standing changed; None: perhaps anybody's did.
            on_kill_switch: a kill switch of everybody was, perhaps, engaged or released.
        """
        self._on_access, self._on_kill_switch = on_access, on_kill_switch

    def join(self, user_id: UUID, audience: Audience, after: int) -> None:
        """Begin to deliver a user's events behind a number that was the last a moment ago."""
        self._feeds[user_id] = _Feed(audience, after)
        # What was committed since that moment was notified before anybody here cared.
        self._look_at((user_id,))

    def leave(self, user_id: UUID) -> None:
        """End the delivery of a user's events."""
        self._feeds.pop(user_id, None)

    def position(self, user_id: UUID) -> int:
        """The number of the last event that was delivered to a user's audience."""
        return self._feeds[user_id].position

    async def run(self) -> None:
        """Listen and deliver until cancelled; a database that is down is tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._deliver())

    # --- being notified ---------------------------------------------------------------------

    async def _listen(self) -> None:
        delay = 0.0
        while True:
            try:
                async with self._reads.listening() as payloads:
                    delay = 0.0
                    # Whatever happened while nobody listened is in the tables.
                    self._look_at(self._feeds)
                    self._on_access(None)
                    self._on_kill_switch()
                    async for payload in payloads:
                        self._note(payload)
            except EventsUnavailable as failure:
                delay = min(RETRY_SECONDS_MAX, delay * 2 or RETRY_SECONDS_MIN)
                _log.warning("events.not_listening", error=type(failure.__cause__).__name__)
                await asyncio.sleep(delay)

    def _note(self, payload: str) -> None:
        kind, _, rest = payload.partition(":")
        user, _, seq = rest.partition(":")
        match kind:
            case "e":
                feed = self._feeds.get(UUID(user))
                if feed is not None and feed.position < int(seq):
                    self._look_at((UUID(user),))
            case "a":
                self._on_access(UUID(user))
            case _:
                self._on_kill_switch()

    def _look_at(self, users: Sequence[UUID] | dict[UUID, _Feed]) -> None:
        self._behind.update(users)
        self._something.set()

    # --- reading and delivering -------------------------------------------------------------

    async def _deliver(self) -> None:
        delay = 0.0
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._something.clear()
            behind, self._behind = self._behind, set()
            try:
                for some in _chunks(behind):
                    await self._read(some)
                delay = 0.0
            except EventsUnavailable as failure:
                self._look_at(tuple(behind))
                delay = min(RETRY_SECONDS_MAX, delay * 2 or RETRY_SECONDS_MIN)
                _log.warning("events.not_read", error=type(failure.__cause__).__name__)
                await asyncio.sleep(delay)

    async def _read(self, users: Sequence[UUID]) -> None:
        known = {
            user: feed.position for user in users if (feed := self._feeds.get(user)) is not None
        }
        if not known:
            return
        for user, events in await self._reads.since(known):
            feed = self._feeds.get(user)
            # Who left and came back meanwhile has another feed, further on.
            if feed is not None and feed.position == known[user]:
                feed.take(events)
            elif feed is not None:
                self._look_at((user,))


def _chunks(users: set[UUID]) -> Iterator[tuple[UUID, ...]]:
    rest = iter(users)
    while some := tuple(islice(rest, USERS_A_READ)):
        yield some


def _ignore() -> None:
    """Nobody is to be told."""


def _ignore_user(_user_id: UUID | None) -> None:
    """Nobody is to be told."""
