"""The read side: authenticated, row-level-secured queries in one network round trip.

A batch sets the transaction-local user of row-level security, checks the caller's session where
that has not been done yet, and runs the queries, all in one pipeline. PostgreSQL runs a pipeline as
one transaction up to its sync, so the setting binds every query of the batch and is gone after it;
were it ever not set, the policies would show no rows at all. Connections are read-only.

Writers use `services.database`; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor, InterfaceError, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from domain.ports import WallClock
from domain.principal import Principal, Role
from models.people import UserStatus
from models.tenancy import USER_SETTING
from services.database import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS
from services.errors import AccountDisabled, AccountSuspended, TokenExpired, TokenInvalid

POOL_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5

_Connection = AsyncConnection[DictRow]

_BIND = f"SELECT set_config('{USER_SETTING}', %s, true)"
_SESSION = """
SELECT u.status, u.role, s.expires_at
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = %s AND s.user_id = %s AND s.revoked_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a token says is asking. Its signature is verified, its session is not looked up yet."""

    user_id: UUID
    session_id: UUID


Caller = Principal | Claims
"""Somebody to read for; claims are checked in the same round trip as the read."""


class Query(NamedTuple):
    """A statement with named parameters; `user_id` is always among them."""

    sql: LiteralString
    params: Mapping[str, Any]


class Reads:
    """A pool of read-only connections of the role that row-level security binds.

    Args:
        app_url: the database as role `nija_app`.
        clock: tells whether a session has expired.
        pool_size: connections at most.
    """

    def __init__(self, app_url: str, clock: WallClock, *, pool_size: int = 10) -> None:
        self._clock = clock
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            app_url,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "options": (
                    f"-c lock_timeout={LOCK_TIMEOUT_MS}"
                    f" -c statement_timeout={STATEMENT_TIMEOUT_MS}"
                    " -c default_transaction_read_only=on -c timezone=UTC"
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
        """Look the session of a token up.

        Raises:
            TokenInvalid: no such session, or it was revoked.
            TokenExpired: the session has ended.
            AccountDisabled: the user is disabled.
            AccountSuspended: the user is suspended.
        """
        session, _ = await self._batch(claims, ())
        return self._admit(claims, session)

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
        session, results = await self._batch(caller, queries)
        if isinstance(caller, Claims):
            self._admit(caller, session)
        return results

    async def _batch(
        self, caller: Caller, queries: Sequence[Query]
    ) -> tuple[DictRow | None, list[list[DictRow]]]:
        try:
            return await self._attempt(caller, queries)
        except (OperationalError, InterfaceError):
            # A restarted server leaves dead connections in the pool. Reads may simply run again, on
            # connections that were looked at.
            await self._pool.check()
            return await self._attempt(caller, queries)

    async def _attempt(
        self, caller: Caller, queries: Sequence[Query]
    ) -> tuple[DictRow | None, list[list[DictRow]]]:
        async with self._pool.connection() as connection:
            async with connection.pipeline():
                await connection.execute(_BIND, (str(caller.user_id),))
                session = await self._check_session(connection, caller)
                cursors = [
                    await connection.execute(query.sql, {"user_id": caller.user_id, **query.params})
                    for query in queries
                ]
            row = None if session is None else await session.fetchone()
            return row, [await cursor.fetchall() for cursor in cursors]

    @staticmethod
    async def _check_session(
        connection: _Connection, caller: Caller
    ) -> AsyncCursor[DictRow] | None:
        if isinstance(caller, Principal):
            return None
        return await connection.execute(_SESSION, (caller.session_id, caller.user_id))

    def _admit(self, claims: Claims, session: Mapping[str, Any] | None) -> Principal:
        if session is None:
            raise TokenInvalid
        if session["expires_at"] <= self.now():
            raise TokenExpired
        require_active(session["status"])
        return Principal(claims.user_id, claims.session_id, Role(session["role"]))


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
