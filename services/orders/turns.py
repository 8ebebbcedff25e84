"""Turns of accounts: one at a time for each, some at once, none longer than it may take.

A venue may answer each request within its deadline and still keep one account for minutes. So a
turn is cut off, and accounts that were slow share a part of the slots only: however many they are,
the others get theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

import structlog

AT_ONCE = 8
SLOW_AT_ONCE = 4
"""How many of these slots accounts may have whose last turn was slow."""

SLOW_SECONDS = 5.0
SECONDS_MAX = 30.0

UserAccount = tuple[UUID, UUID]
"""User and account."""

_log = structlog.get_logger("nija.reconcile")


class Turns:
    """The turns that wait or are under way.

    Args:
        work: what is done in a turn; it has to bear being cancelled anywhere.
        slow_seconds: after which a turn counts as slow.
        seconds_max: after which it is cut off.
    """

    def __init__(
        self,
        work: Callable[[UUID, UUID], Awaitable[None]],
        *,
        slow_seconds: float = SLOW_SECONDS,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        self._work = work
        self._slow_seconds = slow_seconds
        self._seconds_max = seconds_max
        self._free = asyncio.Semaphore(AT_ONCE)
        self._slow_free = asyncio.Semaphore(SLOW_AT_ONCE)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._slow: set[UUID] = set()

    def begin(self, accounts: Iterable[UserAccount]) -> list[asyncio.Task[None]]:
        """Give each a turn, but those that have one; the turns that are new."""
        begun = []
        for user_id, account_id in accounts:
            if account_id not in self._tasks:
                task = asyncio.create_task(self._turn(user_id, account_id))
                self._tasks[account_id] = task
                task.add_done_callback(partial(self._forget, account_id))
                begun.append(task)
        return begun

    def _forget(self, account_id: UUID, _ended: asyncio.Task[None]) -> None:
        del self._tasks[account_id]

    async def stop(self) -> None:
        """Cut every turn off and wait until none is under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self, user_id: UUID, account_id: UUID) -> None:
        async with AsyncExitStack() as slots:
            if account_id in self._slow:
                await slots.enter_async_context(self._slow_free)
            await slots.enter_async_context(self._free)
            await self._take(user_id, account_id)

    async def _take(self, user_id: UUID, account_id: UUID) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._seconds_max):
                await self._work(user_id, account_id)
        except Exception as failure:  # noqa: BLE001 - a boundary
            # Whatever one account's rows or its venue's answers hold, the others go on.
            is_cut_off = loop.time() - began >= self._seconds_max
            log = _log.warning if is_cut_off else _log.exception
            log("reconcile.failed", account_id=str(account_id), error=type(failure).__name__)
        if loop.time() - began >= self._slow_seconds:
            self._slow.add(account_id)
        else:
            self._slow.discard(account_id)
