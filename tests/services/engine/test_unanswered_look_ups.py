"""An order that cannot be looked up keeps only its own currencies from being compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlmodel import select

from domain.markets import Mode
from domain.money import ZERO
from domain.ports import VenueUnavailable
from models.trading import Position
from services.orders.late_reports import COMMISSION_RATE_MAX
from services.orders.settling import DOUBT_LENGTH
from services.orders.turns import Turns
from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer, FakeAccount

pytestmark = pytest.mark.integration


def fill_late(account: FakeAccount) -> None:
    """Let the entry fill by another half, which nobody has asked for."""
    (entry,) = account.orders.values()
    entry.fills.append(
        replace(entry.fills[0], venue_fill_id="late", quantity=Decimal("0.5"), fee=Decimal("0.05"))
    )
    account.deposit("BTC", "0.5")
    account.deposit("USD", "-50.05")


async def reconcile(engine: Engine, bot: RunningBot, *, times: int = 1) -> None:
    """Take turns of the account, a minute apart."""
    for _ in range(times):
        pass_time(engine, 60)
        await engine.reconciling._try(bot.trader.user_id, bot.trader.account_id)


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


async def enter(engine: Engine, bot: RunningBot, symbol: str, answer: Answer) -> UUID:
    order_id = await engine.intend_entry(bot, symbol)
    engine.account(bot).answers.append(answer)
    await engine.place(bot, order_id)
    return order_id


async def flows(engine: Engine, bot: RunningBot) -> list[Decimal]:
    rows = await engine.rows(
        "SELECT amount FROM flows WHERE account_id = :id AND kind <> 'opening'",
        id=bot.trader.account_id,
    )
    return [row["amount"] for row in rows]


async def reconciled_at(engine: Engine, bot: RunningBot) -> datetime | None:
    (row,) = await engine.rows(
        "SELECT reconciled_at FROM accounts WHERE id = :id", id=bot.trader.account_id
    )
    at: datetime | None = row["reconciled_at"]
    return at


async def test_an_order_that_cannot_be_looked_up_keeps_no_other_market_from_being_compared(
    engine: Engine, bot: RunningBot
) -> None:
    """Coins of another market were moved by their user."""
    await engine.open_position(bot, "BTC-USD")
    await enter(engine, bot, "ETH-USD", Answer.TIME_OUT)
    account = engine.account(bot)
    account.unreadable_orders.add("ETH-USD")
    account.totals["BTC"] = Decimal(0)

    await reconcile(engine, bot, times=3)

    moved = await engine.position(bot)
    assert (moved.state, moved.closed_elsewhere_quantity) == ("closed", QUANTITY)
    assert (await engine.position(bot, "ETH-USD")).state == "pending"
    assert await reconciled_at(engine, bot) == engine.wall.now()


async def test_an_order_that_cannot_be_looked_up_keeps_no_other_from_it(
    engine: Engine, bot: RunningBot
) -> None:
    unreadable = await enter(engine, bot, "ETH-USD", Answer.FILL_BUT_TIME_OUT)
    filled = await enter(engine, bot, "BTC-USD", Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).unreadable_orders.add("ETH-USD")

    await reconcile(engine, bot)

    assert (await engine.order(filled)).state == "filled"
    assert (await engine.order(unreadable)).state == "unknown"


async def test_an_order_whose_rows_are_locked_keeps_no_other_market_from_being_compared(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot, "BTC-USD")
    locked = await enter(engine, bot, "ETH-USD", Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).totals["BTC"] = Decimal(0)
    async with locked_rows(engine, bot, "ETH-USD"):
        await reconcile(engine, bot, times=2)

    assert (await engine.position(bot)).closed_elsewhere_quantity == QUANTITY
    assert (await engine.order(locked)).state == "unknown"


@asynccontextmanager
async def locked_rows(engine: Engine, bot: RunningBot, symbol: str) -> AsyncIterator[None]:
    async with engine.database.for_user(bot.trader.user_id) as session:
        await session.exec(select(Position).where(Position.symbol == symbol).with_for_update())
        yield


async def test_an_order_whose_look_up_takes_longer_than_a_turn_keeps_no_other_from_it(
    alone: Engine,
) -> None:
    bot = await alone.start_bot()
    await alone.open_position(bot, "BTC-USD")
    await enter(alone, bot, "ETH-USD", Answer.REST)
    account = alone.account(bot)
    account.hangs_at_look_ups = True
    account.totals["BTC"] = Decimal(0)
    alone.reconciling._turns = Turns(alone.reconciling._try, seconds_max=2)

    for _ in range(6):
        pass_time(alone, 60)
        await alone.reconciling.reconcile_due(everybody=True)

    assert (await alone.position(bot)).closed_elsewhere_quantity == QUANTITY


async def test_a_venue_that_answers_nothing_is_not_asked_for_every_order(
    engine: Engine, bot: RunningBot
) -> None:
    for symbol in ("BTC-USD", "ETH-USD"):
        await enter(engine, bot, symbol, Answer.TIME_OUT)
    account = engine.account(bot)
    account.is_down = True
    account.look_ups.clear()

    await reconcile(engine, bot)

    assert len(account.look_ups) == 1
    assert await reconciled_at(engine, bot) is None


async def test_the_doubt_about_an_order_lasts_until_it_could_be_looked_up(
    engine: Engine, bot: RunningBot
) -> None:
    """It is listed late, by a venue whose row of it could not be read until then."""
    account = engine.account(bot)
    account.listing_delay = timedelta(hours=1)
    order_id = await enter(engine, bot, "ETH-USD", Answer.FILL_BUT_TIME_OUT)
    pass_time(engine, 60)
    assert (await engine.settle(bot, order_id)).state == "absent"
    account.unreadable_orders.add("ETH-USD")
    for _ in range(3):
        pass_time(engine, DOUBT_LENGTH.total_seconds())
        await reconcile(engine, bot)
    assert await flows(engine, bot) == [], "its coins are nobody's deposit"

    account.unreadable_orders.clear()
    await reconcile(engine, bot, times=2)

    assert (await engine.order(order_id)).state == "filled"
    assert await flows(engine, bot) == []
    pass_time(engine, DOUBT_LENGTH.total_seconds())
    await reconcile(engine, bot)
    assert await reconciled_at(engine, bot) == engine.wall.now()
    await assert_in_order(engine, bot)


async def test_a_late_fill_of_an_order_that_cannot_be_looked_up_is_no_money_from_outside(
    engine: Engine, bot: RunningBot
) -> None:
    """The listing of executions shows it, but not the order that it belongs to."""
    await engine.open_position(bot)
    account = engine.account(bot)
    fill_late(account)
    account.unreadable_orders.add("BTC-USD")

    await reconcile(engine, bot, times=3)

    assert await flows(engine, bot) == []
    account.unreadable_orders.clear()
    await reconcile(engine, bot, times=2)
    assert (await engine.position(bot)).entry_quantity == QUANTITY + Decimal("0.5")
    assert await flows(engine, bot) == []


async def test_a_fee_that_cannot_be_corrected_is_no_money_from_outside(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    pass_time(engine, 60)
    account = engine.account(bot)
    (entry,) = account.orders.values()
    entry.fills[:] = [replace(fill, fee=fill.fee + 1) for fill in entry.fills]
    account.deposit("USD", "-2")
    async with locked_rows(engine, bot, "BTC-USD"):
        await reconcile(engine, bot)
    assert await flows(engine, bot) == []

    await reconcile(engine, bot, times=2)

    assert await flows(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_executions_that_are_not_listed_keep_no_shortfall_from_being_found(
    engine: Engine, bot: RunningBot
) -> None:
    """Coins were moved by hand: exits of them are refused until the position knows."""
    await engine.open_position(bot)
    account = engine.account(bot)
    account.totals["BTC"] = Decimal(0)
    account.lists_no_fills = True

    await reconcile(engine, bot, times=3)

    moved = await engine.position(bot)
    assert (moved.state, moved.closed_elsewhere_quantity) == ("closed", QUANTITY)
    assert await flows(engine, bot) == [], "what flowed is noted once executions are listed"
    account.lists_no_fills = False
    await reconcile(engine, bot)
    assert await flows(engine, bot) == [-QUANTITY]


async def test_money_is_no_flow_while_executions_are_not_listed(
    engine: Engine, bot: RunningBot
) -> None:
    """A late fill, which the listing would show, moved it."""
    await engine.open_position(bot)
    account = engine.account(bot)
    fill_late(account)
    account.lists_no_fills = True

    await reconcile(engine, bot, times=3)
    assert await flows(engine, bot) == []

    account.lists_no_fills = False
    await reconcile(engine, bot, times=2)
    assert (await engine.position(bot)).entry_quantity == QUANTITY + Decimal("0.5")
    assert await flows(engine, bot) == []


async def test_a_commission_that_could_not_be_asked_for_in_its_time_is_asked_for_later(
    alone: Engine,
) -> None:
    bot = await alone.start_bot(mode=Mode.LIVE)
    await alone.open_position(bot)
    await reconcile(alone, bot)
    account = alone.account(bot)
    account.lists_no_fills = True
    for _ in range(27):
        pass_time(alone, 3600)
        await reconcile(alone, bot)
    (entry,) = account.orders.values()
    entry.fills[:] = [replace(fill, fee=fill.fee + 1) for fill in entry.fills]
    account.deposit("USD", "-2")
    account.lists_no_fills = False

    await reconcile(alone, bot, times=2)

    assert await flows(alone, bot) == []
    await assert_in_order(alone, bot)


async def take_commission_in_coins(engine: Engine, bot: RunningBot, of_each: str) -> None:
    """Settle every fill's commission in the base currency; what was booked for it comes back."""
    account = engine.account(bot)
    for order in account.orders.values():
        for number, fill in enumerate(order.fills):
            account.deposit("USD", str(fill.fee))
            account.deposit("BTC", f"-{of_each}")
            order.fills[number] = replace(fill, fee=Decimal(of_each), fee_currency="BTC")


async def test_a_commission_in_coins_that_cannot_be_read_yet_is_no_sale_elsewhere(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    await take_commission_in_coins(engine, bot, "0.01")
    account = engine.account(bot)
    account.lists_no_fills = True
    await reconcile(engine, bot, times=4)
    assert (await engine.position(bot)).closed_elsewhere_quantity == 0

    account.lists_no_fills = False
    await reconcile(engine, bot, times=3)

    position = await engine.position(bot)
    assert account.totals["BTC"] == Decimal("2.98")
    assert (position.closed_elsewhere_quantity, position.open_quantity) == (ZERO, Decimal("2.98"))
    await assert_in_order(engine, bot)


async def test_beside_a_commission_that_cannot_be_read_what_left_by_hand_is_found(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    await take_commission_in_coins(engine, bot, "0.01")
    account = engine.account(bot)
    account.deposit("BTC", "-1")
    account.lists_no_fills = True
    await reconcile(engine, bot, times=4)
    position = await engine.position(bot)
    most = QUANTITY * COMMISSION_RATE_MAX
    assert position.open_quantity == Decimal("1.98") + most

    account.lists_no_fills = False
    await reconcile(engine, bot, times=3)

    position = await engine.position(bot)
    assert position.closed_elsewhere_quantity == 1
    assert position.open_quantity == Decimal("1.98")


async def test_an_exit_sells_what_is_there_while_a_commission_cannot_be_read(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await take_commission_in_coins(engine, bot, "0.01")
    account = engine.account(bot)
    account.checks_funds, account.lists_no_fills = True, True
    await reconcile(engine, bot, times=3)

    await engine.fire(position, "stop")
    for _ in range(4):
        for live in (await engine.guard(bot)).orders:
            if live.state == "intended":
                with suppress(VenueUnavailable):  # its fill is not listed either
                    await engine.place(bot, live.order_id)
        pass_time(engine, 2)

    assert account.totals["BTC"] == 0
    account.lists_no_fills = False
    await reconcile(engine, bot, times=3)
    position = await engine.position(bot)
    assert (position.state, position.closed_elsewhere_quantity) == ("closed", ZERO)
