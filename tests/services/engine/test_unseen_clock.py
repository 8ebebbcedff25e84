"""Processes that never saw the venue's clock, which gives no answer: exits go on all the same."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.ports import VenueUnavailable
from domain.positions import Direction
from domain.strategies.apex import BAR
from models.trading import Position
from services.markets.last_clock import last_clock
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY, Answer
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration


@pytest.fixture
def bars(alone: Engine) -> WrittenEvaluations:
    return written_bars(alone)


async def begin(engine: Engine, *, is_stored: bool = True) -> tuple[RunningBot, Position]:
    """A long entered at 100 whose first target has filled, and then a process without a clock."""
    bot = await engine.start_bot()
    position = await engine.open_position(bot)
    if is_stored:
        await engine.watching.look(KEY)
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    engine.venue.market.down.add("clock")
    engine.venue.market.has_seen_clock = False
    engine.wire()
    return bot, position


async def pass_bar(engine: Engine) -> None:
    engine.venue.market.now += BAR.length
    engine.wall.advance(BAR.length.total_seconds())


@pytest.mark.parametrize("is_stored", [True, False])
async def test_stops_trail_and_nothing_enters(
    alone: Engine, bars: WrittenEvaluations, is_stored: bool
) -> None:
    bot, position = await begin(alone, is_stored=is_stored)
    await pass_bar(alone)
    bars.write(alone, "BTC-USD", None, close=Decimal(112))
    bars.write(alone, "ETH-USD", Direction.LONG)

    result = await alone.hunt(bot)

    assert (await alone.triggers(position))["stop"].price == Decimal(109)
    assert result.orders == ()
    assert result.decisions == 0


async def test_a_later_bar_below_lowers_no_stop(alone: Engine, bars: WrittenEvaluations) -> None:
    bot, position = await begin(alone)
    for close in (112, 90):
        await pass_bar(alone)
        bars.write(alone, "BTC-USD", None, close=Decimal(close))
        await alone.hunt(bot)

    assert (await alone.triggers(position))["stop"].price == Decimal(109)


async def test_the_strategy_closes_nothing_by_a_bar_that_may_be_old(
    alone: Engine, bars: WrittenEvaluations
) -> None:
    bot, _position = await begin(alone)
    await pass_bar(alone)
    bars.write(alone, "BTC-USD", Direction.SHORT)

    result = await alone.hunt(bot)
    before = await alone.position(bot)
    alone.venue.market.down.clear()
    again = await alone.hunt(bot)

    assert not result.exits_requested
    assert before.close_requested is None
    assert again.exits_requested, "it was not lost"


async def test_the_watch_judges_prices_by_the_time_that_the_latest_start_saw(
    alone: Engine,
) -> None:
    bot, position = await begin(alone, is_stored=False)
    alone.wall.advance(90)
    alone.venue.market.last["BTC-USD"] = Decimal(90)
    alone.workflows.woken.clear()

    await alone.watching.look(KEY)

    assert (await alone.triggers(position))["stop"].state == "fired"
    assert bot.bot_id in alone.workflows.woken
    (state,) = await alone.rows("SELECT epoch, clock_at, judged_until FROM venue_states")
    (run,) = await alone.rows("SELECT epoch, venue_started_at, started_at FROM bot_runs")
    reckoned = run["venue_started_at"] + (alone.wall.now() - run["started_at"])
    assert state == {"epoch": run["epoch"], "clock_at": reckoned, "judged_until": None}


async def test_without_any_start_there_is_nothing_to_watch(alone: Engine) -> None:
    alone.venue.market.down.add("clock")
    alone.venue.market.has_seen_clock = False

    with pytest.raises(VenueUnavailable):
        await alone.watching.look(KEY)


async def test_of_several_starts_the_latest_counts_and_a_stored_clock_before_all(
    alone: Engine,
) -> None:
    await alone.start_bot()
    alone.wall.advance(3600)
    alone.venue.market.now += timedelta(hours=2)
    alone.venue.market.epoch = "epoch-2"
    await alone.start_bot()
    async with alone.database.as_system() as session:
        by_start = await last_clock(session, KEY, alone.wall.now())
    assert by_start is not None
    assert (by_start.now, by_start.epoch) == (alone.venue.market.now, "epoch-2")

    alone.venue.market.epoch = "epoch-3"
    await alone.watching.look(KEY)
    alone.wall.advance(30)
    async with alone.database.as_system() as session:
        stored = await last_clock(session, KEY, alone.wall.now())
    assert stored is not None
    assert (stored.now, stored.epoch) == (
        alone.venue.market.now + timedelta(seconds=30),
        "epoch-3",
    )


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_user_moves_a_stop(alone: Engine, is_stored: bool) -> None:
    bot, position = await begin(alone, is_stored=is_stored)
    alone.wall.advance(60)
    alone.venue.market.now += timedelta(seconds=60)

    await alone.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=Decimal(99), take_profit=None
    )

    stop = (await alone.triggers(position))["stop"]
    assert stop.price == Decimal(99)
    assert stop.moved_at is not None
    assert stop.moved_at >= alone.venue.market.now - timedelta(seconds=1)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_fill_that_comes_late_is_booked_and_balances_are_compared(
    alone: Engine, is_stored: bool
) -> None:
    bot, position = await begin(alone, is_stored=is_stored)
    account = alone.account(bot)
    account.repeats_known_orders = True
    await alone.trading.close_position(bot.trader.principal, position.id)
    (task,) = (await alone.guard(bot)).orders
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    await alone.place(bot, task.order_id)
    account.deposit("USD", "50")
    alone.wall.advance(60)
    alone.venue.market.now += timedelta(seconds=60)

    await alone.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
    alone.wall.advance(60)
    await alone.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)

    assert (await alone.position(bot)).state == "closed"
    flows = await alone.rows("SELECT amount FROM flows WHERE kind = 'external'")
    assert [flow["amount"] for flow in flows] == [Decimal(50)]
    assert await alone.balances(bot) == {k: v for k, v in account.totals.items() if v}
