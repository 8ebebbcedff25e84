"""One process's connections: let in, counted, checked again, and handed their users' events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from api.kit.stream.codec import Codec
from api.kit.stream.connection import Admitted, Close, Connection, Receive, frames_of
from api.kit.stream.metrics import closed, opened, told
from api.kit.stream.protocol import Outlet, text_frame
from api.kit.stream.strangers import Strangers
from domain.errors import DomainError, ErrorKind
from domain.principal import Principal, Role
from models.events import Channel, EventKind
from services.errors import Refusal, TokenInvalid
from services.events.access import Standing
from services.events.live import LiveEvents, end_process_with
from services.events.prices import AccountWorth, PositionWorth
from services.events.reading import EventsUnavailable, replay
from services.events.values import Event
from services.identity.tokens import AccessTokens
from services.origin import current_origin
from services.reads import Claims

CONNECTIONS_MAX = 10_000
"""Of one process; more are asked to try later."""

REPLAYS_AT_ONCE = 4
"""They use the connections of all other calls, which must not stand behind thousands of them."""

RECHECK_SECONDS = 15.0
RECHECKED_AT_ONCE = 500
_MOVES_VALUES = frozenset({EventKind.POSITION, EventKind.BALANCE})

_log = structlog.get_logger("nija.streams")


class TooManyConnections(Refusal):
    """The plan's live connections are all in use."""

    kind = ErrorKind.LIMIT_REACHED
    code = "too_many_connections"
    usual_message = "All live connections of the plan are in use"


@dataclass(frozen=True, slots=True)
class _Entry:
    claims: Claims
    seconds_left: float


class _Audience:
    """The connections of one user in this process."""

    def __init__(self, user_id: UUID, live: LiveEvents) -> None:
        self.connections: set[Connection] = set()
        self._user_id = user_id
        self._live = live

    @property
    def wants_values(self) -> bool:
        """Whether anybody wants to know what holdings are worth."""
        return any(self._watching(Channel.POSITIONS, Channel.ACCOUNT))

    def deliver(self, events: Sequence[Event]) -> None:
        """Hand out committed events."""
        for event in events:
            wanting = [one for one in self.connections if one.wants(event)]
            for connection, frame in frames_of(wanting, partial(_event, event)):
                connection.offer(event, frame)
            told(len(wanting))
        if any(event.kind in _MOVES_VALUES for event in events):
            self._live.prices.holdings_changed(self._user_id)

    def lose(self) -> None:
        """Events are gone: everybody has to find out where they stand."""
        for connection in tuple(self.connections):
            connection.close(Close.LOST, "Events were lost; resume or take a snapshot")

    def revalue(self, positions: Sequence[PositionWorth], accounts: Sequence[AccountWorth]) -> None:
        """Hand out new values."""
        for position in positions:
            self._offer_value(self._watching(Channel.POSITIONS), partial(_position, position))
        for account in accounts:
            self._offer_value(self._watching(Channel.ACCOUNT), partial(_account, account))

    def _watching(self, *channels: Channel) -> list[Connection]:
        return [one for one in self.connections if one.watches(*channels)]

    @staticmethod
    def _offer_value(connections: Iterable[Connection], write: Callable[[Codec], bytes]) -> None:
        for connection, frame in frames_of(connections, write):
            connection.offer_value(frame)


class Hub:
    """All live connections of this process.

    Args:
        live: committed events, values, and who may have them.
        tokens: verifies access tokens.
    """

    def __init__(self, live: LiveEvents, tokens: AccessTokens) -> None:
        self._live = live
        self._tokens = tokens
        self._audiences: dict[UUID, _Audience] = {}
        self._connections: set[Connection] = set()
        self._strangers = Strangers(live.reads)
        self._suspects: set[UUID] = set()
        self._suspicion = asyncio.Event()
        self._everybody = False
        self._access_changes = 0  # that were heard of
        self._replaying = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._switched = asyncio.Event()
        self._switches: Sequence[Mapping[str, Any]] = []
        live.feeds.tell(on_access=self._access_changed, on_kill_switch=self._switched.set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check connections again and again while the block runs."""
        tasks = [
            asyncio.create_task(self._recheck_always()),
            asyncio.create_task(self._tell_kill_switches()),
        ]
        for task in tasks:
            task.add_done_callback(end_process_with)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, outlet: Outlet, codec: Codec, receive: Receive) -> None:
        """Serve one accepted WebSocket until either side closes."""
        address = current_origin().ip
        connection = Connection(outlet, codec, self, address)
        is_full = len(self._connections) >= CONNECTIONS_MAX
        if is_full or not self._strangers.may_wait(address):
            connection.close(Close.TRY_LATER, "Too many connections; try again later")
            return
        self._connections.add(connection)
        self._strangers.come(address)
        opened()
        try:
            await connection.run(receive)
        finally:
            self._connections.discard(connection)
            if connection.claims is None:
                self._strangers.go(address)
            closed()
            self._leave(connection)

    # --- what connections ask for -----------------------------------------------------------

    async def admit(self, connection: Connection, token: str) -> Admitted:
        """Let a caller in.

        Raises:
            DomainError: the refusals of `Access.admit`; TooManyConnections.
        """
        claims, expires_at = self._tokens.verify_until(token)
        if connection.claims is not None and connection.claims.user_id != claims.user_id:
            raise TokenInvalid("The token is somebody else's")
        changes = self._access_changes
        standing = await self._live.access.admit(claims)
        if connection.claims is None:
            self._join(connection, claims.user_id, standing)
            connection.claims = claims
            self._strangers.go(connection.address)
        if self._access_changes != changes:
            # Perhaps it was this session that ended, between its look-up and now.
            self._suspect(claims.user_id)
        left = (expires_at - self._live.clock.now()).total_seconds()
        return _Entry(claims, max(0.0, left))

    async def turn_away(self, connection: Connection, failure: DomainError) -> DomainError:
        """Count a login that failed; answers what the client is told."""
        return await self._strangers.note_failure(connection.address, failure)

    def _join(self, connection: Connection, user_id: UUID, standing: Standing) -> None:
        connections_max = standing.plan.limits.live_connections
        audience = self._audiences.get(user_id)
        if audience is None:
            audience = self._audiences[user_id] = _Audience(user_id, self._live)
            self._live.feeds.join(user_id, audience, standing.last_seq)
            self._live.prices.subscribe(user_id, audience)
        elif len(audience.connections) >= connections_max:
            raise TooManyConnections(details={"limit": connections_max})
        audience.connections.add(connection)

    def _leave(self, connection: Connection) -> None:
        if connection.claims is None:
            return
        user_id = connection.claims.user_id
        audience = self._audiences[user_id]
        audience.connections.discard(connection)
        if not audience.connections:
            del self._audiences[user_id]
            self._live.feeds.leave(user_id)
            self._live.prices.unsubscribe(user_id)

    def position(self, user_id: UUID) -> int:
        """The number of the last event that was delivered."""
        return self._live.feeds.position(user_id)

    async def replay(
        self, claims: Claims, channels: Sequence[Channel], *, after: int, until: int
    ) -> list[Event]:
        """Events between two numbers.

        Raises:
            ResumeNotPossible, EventsUnavailable: as `services.events.reading.replay`.
        """
        if after == until:
            return []  # nothing was missed, as mostly when thousands come back at once
        # The session was looked up at its login and is looked up again by the checks.
        principal = Principal(claims.user_id, claims.session_id, Role.USER)
        async with self._replaying:
            return await replay(self._live.reads, principal, channels, after=after, until=until)

    def values_wanted(self, user_id: UUID) -> None:
        """Tell all values the next time they are valued."""
        self._live.prices.holdings_changed(user_id)

    def kill_switches_wanted(self, connection: Connection) -> None:
        """Tell of those that hold; they have no number, so nobody can resume from them."""
        if self._switches:
            connection.offer_value(text_frame(connection.codec.kill_switches(self._switches)))

    # --- checking again ---------------------------------------------------------------------

    def _access_changed(self, user_id: UUID | None) -> None:
        self._access_changes += 1
        self._suspect(user_id)

    def _suspect(self, user_id: UUID | None) -> None:
        if user_id is None:
            self._everybody = True
        elif user_id in self._audiences:
            self._suspects.add(user_id)
        else:
            return
        self._suspicion.set()

    async def _recheck_always(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECHECK_SECONDS):
                    await self._suspicion.wait()
            except TimeoutError:
                self._everybody = True
            self._suspicion.clear()
            suspects, self._suspects = self._suspects, set()
            everybody, self._everybody = self._everybody, False
            users = tuple(self._audiences) if everybody else tuple(suspects)
            try:
                await self.recheck(users)
            except EventsUnavailable:
                # The next round asks again; nobody is sent away because the database is.
                _log.warning("streams.not_rechecked", users=len(users))

    async def recheck(self, users: Sequence[UUID]) -> None:
        """Send away whose session, standing or plan does not hold any more.

        Raises:
            EventsUnavailable: the database does not answer.
        """
        present = [
            (connection, connection.claims)
            for user in users
            if (audience := self._audiences.get(user)) is not None
            for connection in audience.connections
            if connection.claims is not None
        ]
        for start in range(0, len(present), RECHECKED_AT_ONCE):
            some = present[start : start + RECHECKED_AT_ONCE]
            standings = await self._live.access.standings([claims for _, claims in some])
            for (connection, claims), standing in zip(some, standings, strict=True):
                # Who showed another session's token meanwhile was looked up for that.
                if isinstance(standing, DomainError) and connection.claims == claims:
                    connection.refuse(standing)

    async def _tell_kill_switches(self) -> None:
        while True:
            await self._switched.wait()
            self._switched.clear()
            try:
                active = await self._live.access.kill_switches()
            except EventsUnavailable:
                self._switched.set()
                await asyncio.sleep(1)
                continue
            if active == self._switches:
                continue
            self._switches = active
            watching = [one for one in self._connections if one.watches(Channel.BOT)]
            for connection, frame in frames_of(watching, partial(_kill_switches, active)):
                connection.offer_value(frame)


def _event(event: Event, codec: Codec) -> bytes:
    return codec.event(event)


def _position(worth: PositionWorth, codec: Codec) -> bytes:
    return codec.position(worth)


def _account(worth: AccountWorth, codec: Codec) -> bytes:
    return codec.account(worth)


def _kill_switches(active: Sequence[Mapping[str, Any]], codec: Codec) -> bytes:
    return codec.kill_switches(active)
