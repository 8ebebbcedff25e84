"""Accounts that another transaction has locked: their exits leave connections to the others'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import (
    OrderReport,
    OrderRequest,
    OrderType,
    PlaceOutcome,
    Side,
    TimeInForce,
)
from domain.ports import AccountRef
from models.connections import Account
from models.trading import Position
from services.accounts import account_ref
from services.database import Database
from services.orders import row_locks
from services.orders.placing import OrderPlacing
from services.orders.row_locks import RowsLocked
from services.orders.settling import OrderSettling
from services.paper_ledger import PostgresPaperLedger
from services.trading.exiting import ExitService
from services.trading.prompt_exits import PromptExits
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import NOON, FakeVenue

pytestmark = pytest.mark.integration

POOL = 4
AT_ONCE_SECONDS = 2.0
"""Much less than anything waits for a lock."""


@dataclass(frozen=True)
class ExitsProcess:
    """An exits worker's services on few connections of their own."""

    database: Database
    exits: ExitService
    placing: OrderPlacing
    prompt: PromptExits


@pytest.fixture
async def process(alone: Engine) -> AsyncIterator[ExitsProcess]:
    app, system = (
        door.url.set(drivername="postgresql").render_as_string(hide_password=False)
        for door in (alone.database._app, alone.database._system)
    )
    database = Database(app, system, pool_size=POOL, ping_first=False)
    settling = OrderSettling(database, alone.venue, alone.wall, grace=GRACE)
    placing = OrderPlacing(database, alone.venue, alone.wall, settling)
    exits = ExitService(database, alone.wall)
    prompt = PromptExits(alone.workflows, exits, placing, settling)
    yield ExitsProcess(database, exits, placing, prompt)
    await database.close()


async def test_a_locked_accounts_exits_that_are_marked_keep_no_other_accounts(
    alone: Engine, process: ExitsProcess
) -> None:
    """More exits of one account than there are connections, carried out by its workflow."""
    symbols = [f"C{number}-USD" for number in range(POOL + 2)]
    alone.venue.market.rules_by_symbol.update(FakeVenue(*symbols).market.rules_by_symbol)
    alone.venue.market.last.update(FakeVenue(*symbols).market.last)
    bot, other = await leaving_bot(alone, *symbols), await leaving_bot(alone, "BTC-USD")
    orders = (await process.exits.make_due(bot.ref)).orders

    async with locked(alone, bot):
        sends = [
            asyncio.create_task(process.placing.place(bot.trader.user_id, order.order_id))
            for order in orders
        ]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await leave(process, other)
            await until(lambda: sells(alone, other) == 1)
    await asyncio.gather(*sends)
    await process.prompt.close(10)

    assert sells(alone, bot) == len(symbols)
    await assert_in_order(alone, bot)


async def test_locked_accounts_exits_that_are_booked_keep_no_other_accounts(
    alone: Engine, process: ExitsProcess
) -> None:
    bots = [await leaving_bot(alone, "BTC-USD", "ETH-USD") for _ in range(POOL)]
    other, is_over = await leaving_bot(alone, "BTC-USD"), asyncio.Event()
    for bot in bots:
        answer_at(alone, bot, is_over)
        await leave(process, bot)
    await until(lambda: all(sells(alone, bot) == 2 for bot in bots))

    async with AsyncExitStack() as stack:
        for bot in bots:
            await stack.enter_async_context(locked(alone, bot))
        is_over.set()
        await asyncio.sleep(0.5)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await leave(process, other)
            await until(lambda: sells(alone, other) == 1)
    await process.prompt.close(10)

    for bot in bots:
        assert sells(alone, bot) == 2
        await assert_in_order(alone, bot)


async def test_an_exit_that_a_guard_made_and_another_has_locked_keeps_no_other_of_its_bot(
    alone: Engine, process: ExitsProcess
) -> None:
    bot = await leaving_bot(alone, "BTC-USD")
    await alone.guard(bot)
    await alone.fire(await alone.open_position(bot, "ETH-USD"), "stop")
    position = await alone.position(bot, "BTC-USD")

    async with alone.database.as_system() as session:
        await session.exec(select(Position.id).where(Position.id == position.id).with_for_update())
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await leave(process, bot)
            await until(lambda: sells(alone, bot) == 1 and bot.bot_id in alone.workflows.woken)
    await process.prompt.close(10)


async def test_rows_that_stay_locked_are_given_up(
    alone: Engine, process: ExitsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_locks, "LOCKED_SECONDS_MAX", 0.2)
    bot = await leaving_bot(alone, "BTC-USD")
    (order,) = (await process.exits.make_due(bot.ref)).orders

    async with locked(alone, bot):
        with pytest.raises(RowsLocked):
            await process.placing.place(bot.trader.user_id, order.order_id)

    assert (await alone.order(order.order_id)).state == "intended"
    assert sells(alone, bot) == 0


async def test_a_locked_accounts_paper_orders_keep_no_other_accounts(
    alone: Engine, process: ExitsProcess
) -> None:
    ledger = PostgresPaperLedger(process.database)
    bot, other = await alone.start_bot(), await alone.start_bot()

    async with locked(alone, bot):
        sends = [asyncio.create_task(execute(alone, ledger, bot)) for _ in range(POOL + 2)]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert isinstance(await execute(alone, ledger, other), OrderReport)
    recorded = await asyncio.gather(*sends)

    assert len({order.venue_order_id for order in recorded if isinstance(order, OrderReport)}) == (
        len(sends)
    )


async def test_a_burst_over_many_paper_accounts_uses_few_connections(alone: Engine) -> None:
    """As of a kill switch that closes positions; making the next exits needs some as well."""
    bots = [await alone.start_bot() for _ in range(8)]
    app, system = alone.database._app.url, alone.database._system.url
    database = CountingDatabase(
        app.set(drivername="postgresql").render_as_string(hide_password=False),
        system.set(drivername="postgresql").render_as_string(hide_password=False),
        pool_size=30,
    )
    ledger = PostgresPaperLedger(database)

    recorded = await asyncio.gather(*(execute(alone, ledger, bot) for bot in bots * 3))
    await database.close()

    assert all(isinstance(order, OrderReport) for order in recorded)
    assert 1 < database.most <= row_locks.CONNECTIONS_MAX


class CountingDatabase(Database):
    """Knows how many transactions of users there were at the same time."""

    now = most = 0

    @asynccontextmanager
    async def for_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with super().for_user(user_id) as session:
                yield session
        finally:
            self.now -= 1


async def execute(
    engine: Engine, ledger: PostgresPaperLedger, bot: RunningBot
) -> OrderReport | PlaceOutcome:
    request = OrderRequest(
        client_order_id=str(uuid4()),
        symbol="BTC-USD",
        side=Side.SELL,
        type=OrderType.MARKET,
        quantity=Decimal(1),
        limit_price=None,
        time_in_force=TimeInForce.IOC,
    )
    ref = await ref_of(engine, bot)
    return await ledger.execute(
        ref, request, base="BTC", quote="USD", fills=(), state="cancelled", at=NOON
    )


async def ref_of(engine: Engine, bot: RunningBot) -> AccountRef:
    async with engine.database.for_user(bot.trader.user_id) as session:
        return await account_ref(session, bot.trader.account_id)


async def leaving_bot(engine: Engine, *symbols: str) -> RunningBot:
    """A bot whose stops fired."""
    bot = await engine.start_bot(
        balances={"USD": Decimal(1_000_000)},
        tier="enterprise",
        settings={"max_concurrent_positions": 50, "max_daily_loss_usd": Decimal(10_000)},
    )
    for symbol in symbols:
        await engine.fire(await engine.open_position(bot, symbol), "stop")
    return bot


async def leave(process: ExitsProcess, bot: RunningBot) -> None:
    await process.prompt.wake_exits(bot.trader.user_id, bot.bot_id)


def answer_at(engine: Engine, bot: RunningBot, moment: asyncio.Event) -> None:
    """Have an account's venue take orders at once and answer at a moment."""
    account = engine.account(bot)
    take: Callable[[OrderRequest], Awaitable[PlaceOutcome]] = account.place

    async def place(request: OrderRequest) -> PlaceOutcome:
        outcome = await take(request)
        await moment.wait()
        return outcome

    account.place = place  # type: ignore[method-assign]


@asynccontextmanager
async def locked(engine: Engine, bot: RunningBot) -> AsyncIterator[None]:
    """As by a process that froze while it compared the account's balances."""
    async with engine.database.as_system() as session:
        await session.exec(
            select(Account.id).where(Account.id == bot.trader.account_id).with_for_update()
        )
        yield


def sells(engine: Engine, bot: RunningBot) -> int:
    return sum(request.side is Side.SELL for request in engine.account(bot).sends)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
