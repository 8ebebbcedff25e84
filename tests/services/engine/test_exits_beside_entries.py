"""Exits while a decision on entries, of the same account, is stuck before its commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.positions import Direction
from services.database import Database
from services.trading.figures import account_standing, last_prices, lock_account
from services.trading.hunting import HuntService
from services.trading.signals import SignalHandling
from tests.support.engine import SCAN, Engine, RunningBot, buy
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration

_HAS_DECIDED = text("SELECT EXISTS (SELECT FROM decisions WHERE xmin = pg_current_xact_id()::xid)")


class StuckDatabase(Database):
    """Waits before the commit of a decision, as a process does that is not scheduled."""

    def __init__(self, urls: DatabaseUrls) -> None:
        super().__init__(urls.app, urls.system)
        self.is_stuck, self.goes_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def for_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        async with super().for_user(user_id) as session:
            yield session
            await session.flush()
            if (await (await session.connection()).execute(_HAS_DECIDED)).scalar_one():
                self.is_stuck.set()
                await self.goes_on.wait()


@pytest.fixture
async def stuck(shared_database: DatabaseUrls) -> AsyncIterator[StuckDatabase]:
    it = StuckDatabase(shared_database)
    yield it
    await it.close()


@pytest.fixture
def bars(engine: Engine) -> WrittenEvaluations:
    return written_bars(engine)


@pytest.mark.parametrize("by", ["bar", "signal"])
async def test_an_exit_does_not_wait_for_an_entry_that_is_being_decided(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations, stuck: StuckDatabase, by: str
) -> None:
    await engine.fire(await engine.open_position(bot), "stop")
    bars.write(engine, "ETH-USD", Direction.LONG if by == "bar" else None)
    signals = SignalHandling(stuck, engine.venue, bars, engine.wall)
    engine.hunt_service = HuntService(
        stuck, engine.venue, bars, signals, engine.wall, scan_length=SCAN
    )
    deciding = asyncio.create_task(engine.hunt(bot, *([buy("ETH-USD")] if by == "signal" else [])))
    await asyncio.wait_for(stuck.is_stuck.wait(), timeout=10)

    try:
        async with asyncio.timeout(4):
            (task,) = (await engine.exit_service.make_due(bot.ref)).orders
            await engine.place(bot, task.order_id)
    finally:
        stuck.goes_on.set()
        decided = await deciding

    assert (await engine.position(bot)).state == "closed"
    assert decided.decisions >= 1


class Interrupted:
    """A session in whose transaction something happens elsewhere before its n-th question."""

    def __init__(self, session: AsyncSession, number: int, happens: Callable[[], Any]) -> None:
        self._session, self._left, self._happens = session, number, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def exec(self, *args: Any, **options: Any) -> Any:
        await self._ask()
        return await self._session.exec(*args, **options)

    async def connection(self) -> Any:
        await self._ask()
        return await self._session.connection()

    async def _ask(self) -> None:
        self._left -= 1
        if self._left == -1:
            await self._happens()


@pytest.mark.parametrize("number", range(12))
async def test_an_order_that_ends_between_two_reads_frees_no_cash_twice(
    engine: Engine, bot: RunningBot, number: int
) -> None:
    order_id = await engine.intend_entry(bot)
    await engine.execute("UPDATE orders SET reserved_quote = 301 WHERE id = :id", id=order_id)
    now = engine.venue.market.now

    async with engine.database.for_user(bot.trader.user_id) as session:
        account = await lock_account(session, bot.trader.account_id)
        prices = await last_prices(session, account)
        reading: Any = Interrupted(session, number, lambda: engine.place(bot, order_id))
        standing = await account_standing(reading, account, prices, now)

    assert standing.common.available_cash is not None
    assert standing.common.available_cash <= Decimal(9_700)
