"""Dying at a chosen step: what a killed process looks like to the database and to the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.database import Database


class Crashed(BaseException):
    """The process is gone: no handler of the code under test may see this as an error."""


class CrashPlan:
    """Counts the steps that the code takes towards the outside, and dies at one of them."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._at: int | None = None

    def die_at(self, number: int | None) -> None:
        """Die at the `number`-th step from here, counted from zero; None means never."""
        self.steps = []
        self._at = number

    async def step(self, name: str) -> None:
        self.steps.append(name)
        if self._at is not None and len(self.steps) > self._at:
            self._at = None
            raise Crashed(name)
        await asyncio.sleep(0)  # lets another task in between, as a real call would


class CrashingDatabase(Database):
    """Dies before a transaction, right before its commit, or right after it."""

    def __init__(self, app_url: str, system_url: str, crash: CrashPlan) -> None:
        super().__init__(app_url, system_url, pool_size=30)
        self._crash = crash

    @asynccontextmanager
    async def for_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        await self._crash.step("before a transaction")
        async with super().for_user(user_id) as session:
            yield session
            await session.flush()
            await self._crash.step("before a commit")
        await self._crash.step("after a commit")
