"""Work that one process at a time does: an advisory lock held by a connection of its own.

The numbers of the locks are a contract between versions and never change: during a rolling upgrade
a process of one version leaves the work to one of another that holds the lock.

PostgreSQL releases the lock when the connection ends, so a process that dies gives it up in that
moment. One that froze is noticed by the server, which ends a session that sends nothing for
`SILENCE_SECONDS_MAX`; the holder sends something every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import psycopg
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

CHORES_LOCK = 0x73776570
"""Of the worker that sweeps, reconciles and does the chores."""

EXITS_LOCK = 0x65786974
"""Of the exits worker that polls for exits that are due."""

WATCH_LOCK = 0x77617463
"""Of the exits worker that watches prices."""

PING_SECONDS = 1.0
SILENCE_SECONDS_MAX = 15
CONNECT_SECONDS = 5
ANSWER_SECONDS = 5.0

_log = structlog.get_logger("nija.lock")


class SessionLock:
    """An advisory lock that this process holds, or tries to get once a second.

    Args:
        url: of the role that holds it.
        key: of the lock, the same in every process.
        name: for the log.
        silence_seconds: after which the server takes it from a holder that froze.
    """

    def __init__(
        self, url: str, key: int, name: str, *, silence_seconds: int = SILENCE_SECONDS_MAX
    ) -> None:
        self._url = url
        self._key = key
        self._name = name
        self._silence = silence_seconds
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._held = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()
        self._is_answered = False

    async def __aenter__(self) -> Self:
        """Begin to try."""
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give it up."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        await self._drop()

    @property
    def is_held(self) -> bool:
        """Whether this process held it a second ago."""
        return self._held.is_set()

    @property
    def is_answered(self) -> bool:
        """Whether the server said at the last try who holds it: this process or another."""
        return self._is_answered

    async def while_held(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop that never ends whenever this process holds the lock, until cancelled.

        Args:
            loop: makes the loop; it is cancelled when the lock is lost and made anew once it is
                held again.
        """
        while True:
            await self.held()
            running = asyncio.create_task(loop())
            losing = asyncio.create_task(self.lost())
            try:
                await asyncio.wait({running, losing}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
            finally:
                running.cancel()
                losing.cancel()
                await asyncio.gather(running, losing, return_exceptions=True)

    async def held(self) -> None:
        """Return once this process holds it."""
        await self._held.wait()

    async def lost(self) -> None:
        """Return once this process does not hold it."""
        await self._lost.wait()

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS + CONNECT_SECONDS):
                    is_held = await self._try()
                self._is_answered = True
            except (psycopg.Error, OSError, TimeoutError) as failure:
                _log.warning("lock.unreachable", lock=self._name, error=type(failure).__name__)
                is_held = False
                await self._drop()
            except Exception as failure:  # noqa: BLE001 - a boundary: who stops looking believes for ever
                _log.exception("lock.failed", lock=self._name, error=type(failure).__name__)
                is_held = False
                await self._drop()
            self._note(is_held=is_held)
            await asyncio.sleep(PING_SECONDS)

    async def _try(self) -> bool:
        """Get the lock, or make sure that the connection that holds it lives."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                options=f"-c idle_session_timeout={self._silence}s",
            )
        if self.is_held:
            await self._connection.execute("SELECT 1")
            return True
        cursor = await self._connection.execute(
            "SELECT pg_try_advisory_lock(%s)", (self._key,), prepare=False
        )
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    def _note(self, *, is_held: bool) -> None:
        if is_held == self.is_held:
            return
        _log.info("lock.held" if is_held else "lock.lost", lock=self._name)
        now_set, now_clear = (self._held, self._lost) if is_held else (self._lost, self._held)
        now_set.set()
        now_clear.clear()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._is_answered = False
        self._note(is_held=False)
        if connection is not None:
            with suppress(Exception):  # it is of no use any more
                await connection.close()


async def is_held_anywhere(session: AsyncSession, key: int) -> bool:
    """Whether any process holds the lock of that key at this moment."""
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid = 0 AND objid = :key AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        ),
        {"key": key},
    )
    return bool(found.scalar_one())
