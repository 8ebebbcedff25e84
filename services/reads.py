"""The read side: authenticated, counted, row-level-secured queries in one network round trip.

A batch checks the caller's session and counts the call where that has not been done yet, sets the
transaction-local user of row-level security and runs the queries, all in one pipeline. PostgreSQL
runs a pipeline as one transaction up to a sync, so the setting binds every query of the batch and
is gone after it; were it ever not set, the policies would show no rows at all.

The count commits first, in a transaction of its own: calls of one caller are counted one after the
other, and must not wait for each other's queries. The second transaction sets the user only where
the first let this very batch in, so the queries behind a refusal find nothing. Its first statement
closes it for writing: nothing but counts is ever written here. Writers use `services.database`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID, uuid4

from psycopg import AsyncCursor, Error, InterfaceError, OperationalError
from psycopg.errors import QueryCanceled
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.ports import WallClock
from domain.principal import Principal, Role
from models.people import UserStatus
from models.tenancy import USER_SETTING
from services.caller_connections import CallerConnections
from services.database import connection_options
from services.errors import (
    AccountDisabled,
    AccountSuspended,
    TokenExpired,
    TokenInvalid,
)
from services.limits.allowance import Allowance, Meter
from services.limits.policy import AddressLimits, Door, subject_of, user_limits
from services.one_send import OneSendConnection

POOL_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 8_000
ANSWER_SECONDS = 10.0
"""A server that lives ends a statement before that; one that stands still is not waited for."""

_Connection = OneSendConnection[DictRow]

_BIND = f"""
SELECT set_config('{USER_SETTING}', %s, true), set_config('transaction_read_only', 'on', true)
"""
_BIND_ADMITTED = f"""
SELECT set_config('{USER_SETTING}', CASE
           WHEN current_setting('nija.admitted_batch', true) = %s THEN %s ELSE '' END, true
       ) AS user_id, set_config('transaction_read_only', 'on', true)
"""
_ADMIT_CALL = "SELECT * FROM admit_call(%s, %s, %s, %s, %s::jsonb, %s)"
_ENTER_DOOR = "SELECT * FROM enter_door(%s, %s, %s, %s)"


class NoAnswer(OperationalError):
    """The server took the question and said nothing in time."""


class NotConnected(OperationalError):
    """No connection could be made in time."""


OUT_OF_REACH = (PoolTimeout, NotConnected, NoAnswer)
"""Whoever asks again would only wait once more."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a token says is asking. Its signature is verified, its session is not looked up yet.

    Attributes:
        meter: of the request that is being served; the first batch read for these claims counts
            it. None counts nothing: such claims are no API call of their own.
    """

    user_id: UUID
    session_id: UUID
    meter: Meter | None = field(default=None, compare=False)


Caller = Principal | Claims
"""Somebody to read for; claims are checked in the same round trip as the read."""


def admitted(caller: Caller) -> Principal:
    """A caller whom an earlier batch of the same request let in, and who is not looked up again.

    It reads what row-level security shows the user. Of the role nothing is known here, so it is the
    least one.
    """
    if isinstance(caller, Principal):
        return caller
    return Principal(caller.user_id, caller.session_id, Role.USER)


class Query(NamedTuple):
    """A statement with named parameters; `user_id` is always among them."""

    sql: LiteralString
    params: Mapping[str, Any]


class Reads:
    """A pool of connections of the role that row-level security binds.

    Args:
        app_url: the database as role `nija_app`.
        clock: tells whether a session has expired, and which minute and day a call belongs to.
        pool_size: connections at most.
        of_a_caller: of them one user, or one address without a token, may have so many at a time;
            None is all.
        address_limits: of callers without a token; None switches every rate limit off, users' too.
            Calls are counted all the same.
        answer_seconds: how long the server may take for a batch.
    """

    def __init__(
        self,
        app_url: str,
        clock: WallClock,
        *,
        pool_size: int = 10,
        of_a_caller: int | None = None,
        address_limits: AddressLimits | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._callers = CallerConnections(of_a_caller)
        self._in_use = 0
        self._address_limits = address_limits
        self._user_limits = None if address_limits is None else json.dumps(user_limits())
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            app_url,
            connection_class=_Connection,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                # There are some dozens of statements, each written for its indexes, and planning
                # one takes longer than running it. So a connection plans each once, for any values.
                "prepare_threshold": 0,
                "options": connection_options(
                    "plan_cache_mode=force_generic_plan",
                    # Only counts are written here; a crash of the server may forget the last of
                    # them, and no answer waits for a disk.
                    "synchronous_commit=off",
                    statement_timeout_ms=STATEMENT_TIMEOUT_MS,
                ),
            },
            min_size=1,
            max_size=pool_size,
            timeout=POOL_TIMEOUT_SECONDS,
            open=False,
            name="reads",
        )

    async def open(self) -> None:
        """Start connecting; does not wait, a database that is down is reported by each read."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    def now(self) -> datetime:
        """Wall time; for reads of a venue whose clock nobody has looked at yet."""
        return self._clock.now()

    async def principal(self, claims: Claims) -> Principal:
        """Look the session of a token up, and count the call.

        Raises:
            TokenInvalid: no such session, or it was revoked.
            TokenExpired: the session has ended.
            AccountDisabled: the user is disabled.
            AccountSuspended: the user is suspended.
            RateLimited: the plan's calls of this minute are used up.
        """
        entered, _ = await self._batch(claims, ())
        return _admit(claims, entered)

    async def rows(
        self, caller: Caller, sql: LiteralString, **params: Any
    ) -> Sequence[Mapping[str, Any]]:
        """Run one query for a caller.

        Raises:
            DomainError: as `principal`, when the caller is claims.
        """
        return (await self.batch(caller, Query(sql, params)))[0]

    async def batch(self, caller: Caller, *queries: Query) -> Sequence[Sequence[Mapping[str, Any]]]:
        """Run queries for a caller in one round trip.

        Raises:
            DomainError: as `principal`, when the caller is claims.
        """
        entered, results = await self._batch(caller, queries)
        if isinstance(caller, Claims):
            _admit(caller, entered)
        return results

    async def admit_address(self, door: Door, address: str | None, meter: Meter) -> None:
        """Count a call without a token; does nothing where rate limits are off.

        Raises:
            RateLimited: the address' calls of this minute are used up.
        """
        if self._address_limits is None:
            return
        limit = self._address_limits.at(door)
        subject = subject_of(address)
        params = (door.value, subject, self.now(), limit)
        async with self._connection(subject) as connection:
            entered = await (await connection.execute(_ENTER_DOOR, params)).fetchone()
        assert entered is not None, "a function answers one row"
        meter.is_counted = True
        meter.allowance = self._allowance({**entered, "call_limit": limit})
        if not entered["is_taken"]:
            raise meter.allowance.refusal()

    async def _batch(
        self, caller: Caller, queries: Sequence[Query]
    ) -> tuple[DictRow | None, list[list[DictRow]]]:
        try:
            return await self._attempt(caller, queries)
        except (*OUT_OF_REACH, QueryCanceled):
            raise
        except (OperationalError, InterfaceError):
            # A restarted server leaves dead connections in the pool. Reads may simply run again, on
            # connections that were looked at.
            await self._pool.check()
            return await self._attempt(caller, queries)

    async def _attempt(
        self, caller: Caller, queries: Sequence[Query]
    ) -> tuple[DictRow | None, list[list[DictRow]]]:
        if isinstance(caller, Principal):
            async with self._connection(caller.user_id) as connection:
                async with connection.pipeline():
                    await connection.execute(_BIND, (str(caller.user_id),))
                    cursors = await _run(connection, caller, queries)
                return None, [await cursor.fetchall() for cursor in cursors]
        return await self._attempt_claimed(caller, queries)

    async def _attempt_claimed(
        self, claims: Claims, queries: Sequence[Query]
    ) -> tuple[DictRow | None, list[list[DictRow]]]:
        batch = uuid4().hex  # an earlier one may have left its own on the connection
        async with self._connection(claims.user_id) as connection:
            entering, binding = connection.cursor(), connection.cursor()
            cursors: list[AsyncCursor[DictRow]] = []
            try:
                async with connection.pipeline() as pipeline:
                    await entering.execute(_ADMIT_CALL, self._entering(claims, batch))
                    if queries:
                        pipeline.end_transaction()
                        await binding.execute(_BIND_ADMITTED, (batch, str(claims.user_id)))
                        cursors = await _run(connection, claims, queries)
            finally:
                # Also where a query failed: the call was counted all the same.
                entered = await _row(entering)
                if claims.meter is not None and entered is not None:
                    self._note(claims.meter, entered)
            bound = await _row(binding)
            is_bound = bound is not None and bool(bound["user_id"])
            assert entered is not None, "a function answers one row"
            if queries and not is_bound and entered["outcome"] == UserStatus.ACTIVE:
                # Whoever is between us and the server gave the two transactions to two sessions.
                raise NotConnected("both transactions of a batch need the same session")
            return entered, [await cursor.fetchall() for cursor in cursors]

    @asynccontextmanager
    async def _connection(self, caller: Hashable) -> AsyncIterator[_Connection]:
        """A connection of the pool, which is hung up on when its server says nothing."""
        is_late = False

        def hang_up() -> None:
            nonlocal is_late
            is_late = True
            # Cancelling would ask the server, which does not answer. An ended connection fails
            # whatever waits on it, and the pool replaces it.
            with (
                suppress(OSError, Error),
                socket.socket(fileno=os.dup(connection.fileno())) as wire,
            ):
                wire.shutdown(socket.SHUT_RDWR)

        async with self._taken(caller) as connection:
            timer = asyncio.get_running_loop().call_later(self._answer_seconds, hang_up)
            try:
                yield connection
            except Error as failure:
                if is_late:
                    raise NoAnswer("the server did not answer in time") from failure
                raise
            finally:
                timer.cancel()

    @asynccontextmanager
    async def _taken(self, caller: Hashable) -> AsyncIterator[_Connection]:
        """A connection out of those that the caller may have.

        Raises:
            PoolTimeout: all of them are in use, and none became free in time.
            NotConnected: there are none.
        """
        seconds = self._pool.timeout
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._callers.one_for(caller, wait_seconds=seconds))
                connection = await stack.enter_async_context(self._pool.connection())
            except (TimeoutError, PoolTimeout) as failure:
                if not self._in_use:
                    raise NotConnected("no connection could be made in time") from failure
                raise PoolTimeout("all connections are in use") from failure
            self._in_use += 1
            try:
                yield connection
            finally:
                self._in_use -= 1

    def _entering(self, claims: Claims, batch: str) -> tuple[Any, ...]:
        is_counted = claims.meter is not None and not claims.meter.is_counted
        return (
            claims.user_id,
            claims.session_id,
            self.now(),
            is_counted,
            self._user_limits,
            batch,
        )

    def _note(self, meter: Meter, entered: DictRow) -> None:
        meter.is_counted = True
        if entered["call_limit"] is not None:
            allowance = self._allowance(entered)
            meter.allowance = allowance if meter.refuses else replace(allowance, retry_after=None)

    def _allowance(self, entered: DictRow) -> Allowance:
        is_refused = entered.get("outcome") == "limited" or entered.get("is_taken") is False
        wait = max(1, entered["resets_at"] - int(self.now().timestamp()))
        return Allowance(
            entered["call_limit"],
            entered["remaining"],
            entered["resets_at"],
            wait if is_refused else None,
        )


async def _run(
    connection: _Connection, caller: Caller, queries: Sequence[Query]
) -> list[AsyncCursor[DictRow]]:
    return [
        await connection.execute(query.sql, {"user_id": caller.user_id, **query.params})
        for query in queries
    ]


async def _row(cursor: AsyncCursor[DictRow]) -> DictRow | None:
    """The row of a statement that answers one; None where the answer did not come."""
    return None if cursor.pgresult is None else await cursor.fetchone()


def _admit(claims: Claims, entered: DictRow | None) -> Principal:
    assert entered is not None, "a function answers one row"
    match entered["outcome"]:
        case "unknown":
            raise TokenInvalid
        case "expired":
            raise TokenExpired
        case "limited":
            assert claims.meter is not None
            assert claims.meter.allowance is not None
            if claims.meter.refuses:
                raise claims.meter.allowance.refusal()
        case status:
            require_active(status)
    return Principal(claims.user_id, claims.session_id, Role(entered["role"]))


def require_active(status: str) -> None:
    """Refuse a user who may not use the platform.

    Raises:
        AccountDisabled: the user is disabled.
        AccountSuspended: the user is suspended.
    """
    if status == UserStatus.DISABLED:
        raise AccountDisabled
    if status == UserStatus.SUSPENDED:
        raise AccountSuspended
