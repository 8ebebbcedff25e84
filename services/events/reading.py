"""Statements about streams: many users at once as the system role, one user's past as their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import ErrorKind
from domain.principal import Principal
from models.events import NOTIFICATIONS, Channel
from services.database import connection_options
from services.errors import Refusal
from services.events.values import Event
from services.reads import Reads

_Attempt = Callable[[LiteralString, Mapping[str, Any]], Awaitable[Sequence[Mapping[str, Any]]]]

_CONNECTIONS = 3
_POOL_TIMEOUT_SECONDS = 5.0
QUIET_SECONDS = 15.0
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # While a question waits for its answer nothing is probed; without this a server that vanished
    # is noticed after a quarter of an hour.
    "tcp_user_timeout": 25_000,
}

_SINCE = """
SELECT e.user_id, e.seq, e.channel, e.kind, e.data::text AS data, e.created_at
FROM unnest(%(users)s::uuid[], %(positions)s::bigint[]) AS known (user_id, seq)
JOIN stream_events e ON e.user_id = known.user_id AND e.seq > known.seq
ORDER BY e.user_id, e.seq
"""
_REPLAY = """
SELECT coalesce((SELECT last_seq FROM event_streams WHERE user_id = %(user_id)s), 0) AS newest,
       coalesce((SELECT min(seq) FROM stream_events WHERE user_id = %(user_id)s), 1) AS oldest,
       e.user_id, e.seq, e.channel, e.kind, e.data::text AS data, e.created_at
FROM (VALUES (1)) AS always (one)
LEFT JOIN stream_events e ON e.user_id = %(user_id)s AND e.seq > %(after)s
    AND e.seq <= %(until)s AND e.channel = ANY(%(channels)s)
ORDER BY e.seq
"""


class ResumeNotPossible(Refusal):
    """The events since then are not kept any more, or were never made: take a snapshot."""

    kind = ErrorKind.CONFLICT
    code = "resume_not_possible"
    usual_message = "These events are gone. Subscribe without resume_from and take a snapshot"


class EventsUnavailable(Refusal):
    """PostgreSQL does not answer."""

    kind = ErrorKind.DATABASE
    code = "events_unavailable"
    usual_message = "Live updates are not available at the moment"


class SystemReads:
    """A few read-only connections that see every user's rows; for many users in one question.

    Args:
        system_url: the database as role `nija_system`.
    """

    def __init__(self, system_url: str) -> None:
        self._url = system_url
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]] = AsyncConnectionPool(
            system_url,
            kwargs=_options(),
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_POOL_TIMEOUT_SECONDS,
            open=False,
            name="streams",
        )

    async def open(self) -> None:
        """Start connecting; does not wait."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def rows(self, sql: LiteralString, **params: Any) -> Sequence[Mapping[str, Any]]:
        """Run one query.

        Raises:
            EventsUnavailable: the database does not answer.
        """
        return await self._ask(sql, params, self._attempt)

    async def _ask(
        self, sql: LiteralString, params: Mapping[str, Any], attempt: _Attempt
    ) -> Sequence[Mapping[str, Any]]:
        try:
            try:
                return await attempt(sql, params)
            except PoolTimeout:
                raise  # all are in use: asking again would only make the line longer
            except (psycopg.OperationalError, psycopg.InterfaceError):
                # A restarted server leaves dead connections in the pool; reading again is harmless.
                await self._pool.check()
                return await attempt(sql, params)
        except (psycopg.Error, OSError) as failure:
            raise EventsUnavailable from failure

    async def counted(self, sql: LiteralString, **params: Any) -> Sequence[Mapping[str, Any]]:
        """Run one query that counts what it reads, in the one round trip.

        Raises:
            EventsUnavailable: the database does not answer.
        """
        return await self._ask(sql, params, self._attempt_counting)

    async def _attempt(
        self, sql: LiteralString, params: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        async with self._pool.connection() as connection:
            return await (await connection.execute(sql, params)).fetchall()

    async def _attempt_counting(
        self, sql: LiteralString, params: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        async with self._pool.connection() as connection, connection.pipeline():
            await connection.execute("BEGIN READ WRITE")
            found = await connection.execute(sql, params)
            await connection.execute("COMMIT")
            return await found.fetchall()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncIterator[str]]:
        """Be notified of every committed event: the payloads, until the connection breaks.

        Raises:
            EventsUnavailable: the database does not answer.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(self._url, **_options())
            try:
                await connection.execute(f"LISTEN {NOTIFICATIONS}".encode())
                yield _payloads(connection)
            finally:
                await connection.close()
        except (psycopg.Error, OSError) as failure:
            raise EventsUnavailable from failure

    async def since(self, known: Mapping[UUID, int]) -> Iterable[tuple[UUID, list[Event]]]:
        """What was committed after each user's known number, in order, grouped by user."""
        rows = await self.rows(_SINCE, users=list(known), positions=list(known.values()))
        events = (Event.of(row) for row in rows)
        return ((user, list(own)) for user, own in groupby(events, attrgetter("user_id")))


async def replay(
    reads: Reads,
    principal: Principal,
    channels: Sequence[Channel],
    *,
    after: int,
    until: int,
) -> list[Event]:
    """A user's events of some channels between two numbers, in order.

    Args:
        reads: the read side, bound by row-level security.
        principal: whose events.
        channels: which of them.
        after: the last number the client has.
        until: the last number to read; what follows is delivered live.

    Raises:
        ResumeNotPossible: some of them are not kept any more, or `after` lies ahead.
        EventsUnavailable: the database does not answer.
    """
    try:
        rows = await reads.rows(
            principal,
            _REPLAY,
            after=after,
            until=until,
            channels=[channel.value for channel in channels],
        )
    except (psycopg.Error, OSError) as failure:
        raise EventsUnavailable from failure
    newest, oldest = rows[0]["newest"], rows[0]["oldest"]
    if not oldest - 1 <= after <= newest:
        raise ResumeNotPossible(details={"oldest": oldest - 1, "latest": newest})
    return [Event.of(row) for row in rows if row["seq"] is not None]


async def _payloads(connection: psycopg.AsyncConnection[DictRow]) -> AsyncIterator[str]:
    while True:
        async for notification in connection.notifies(timeout=QUIET_SECONDS):
            yield notification.payload
        # A connection that broke without a word looks like silence.
        await connection.execute("SELECT 1")


def _options() -> dict[str, Any]:
    return {
        "autocommit": True,
        "row_factory": dict_row,
        "connect_timeout": 5,
        **_KEEPALIVE,
        "options": connection_options("default_transaction_read_only=on"),
    }
