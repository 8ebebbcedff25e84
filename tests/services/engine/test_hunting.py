"""Decisions: each bar and each signal once, whatever is repeated, raced or down."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from domain.contracts.bots import TradeSignal
from domain.markets import Candle
from domain.orders import OrderState
from domain.ports import AccountRef, VenueAccount, VenueRefusedKeys, VenueUnavailable
from domain.positions import Direction
from domain.strategies.apex import BAR
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import Engine, RunningBot, buy, close
from tests.support.fake_venue import NOON
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration


@pytest.fixture
def bars(engine: Engine) -> WrittenEvaluations:
    return written_bars(engine)


async def decisions(engine: Engine, bot: RunningBot) -> list[tuple[str, str, str]]:
    rows = await engine.rows(
        "SELECT symbol, action, reason FROM decisions WHERE run_id = :run"
        " ORDER BY decided_at, bar_at, symbol",
        run=bot.run_id,
    )
    return [(row["symbol"], row["action"], row["reason"]) for row in rows]


# --- bars -------------------------------------------------------------------------------------


async def test_a_bar_that_calls_for_a_long_makes_one_pending_position_and_one_intent(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", Direction.LONG)

    result = await engine.hunt(bot)

    (task,) = result.orders
    order, position = await engine.order(task.order_id), await engine.position(bot)
    assert (order.state, order.leg, order.limit_price) == ("intended", "entry", Decimal("100.20"))
    assert (position.state, position.source) == ("pending", "strategy")
    # 4 percent of 10,000 for a score of 4, at the worst price that the order may fill at.
    assert order.quantity == Decimal("3.9920")
    assert await decisions(engine, bot) == [("BTC-USD", "enter_long", "setup")]


async def test_each_bar_is_decided_once_however_often_it_is_hunted(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", Direction.LONG)
    bars.write(engine, "ETH-USD", None)

    first = await engine.hunt(bot)
    again = await asyncio.gather(*(engine.hunt(bot) for _ in range(4)))

    assert len(first.orders) == 1
    assert [result.orders for result in again] == [()] * 4
    assert await decisions(engine, bot) == [
        ("BTC-USD", "enter_long", "setup"),
        ("ETH-USD", "none", "no_setup"),
    ]


async def test_racing_hunts_decide_a_bar_once(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", Direction.LONG)

    results = await asyncio.gather(*(engine.hunt(bot) for _ in range(6)))

    assert sum(len(result.orders) for result in results) == 1
    assert len(await engine.orders(bot)) == 1


async def test_a_late_bar_is_decided_but_not_entered_on(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", None)
    await engine.hunt(bot)
    for side in (Direction.LONG, Direction.LONG, None):
        engine.venue.market.now += BAR.length
        bars.write(engine, "BTC-USD", side)

    result = await engine.hunt(bot)

    assert result.orders == ()
    assert [reason for _symbol, _action, reason in await decisions(engine, bot)] == [
        "no_setup",
        "late_bar",
        "late_bar",
        "no_setup",
    ]


async def test_every_missed_bar_trails_the_stop_in_order(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    for price in (108, 112, 110):
        engine.venue.market.now += BAR.length
        bars.write(engine, "BTC-USD", None, close=Decimal(price))
        if price == 108:
            await engine.hunt(bot)

    await engine.hunt(bot)

    triggers = await engine.triggers(await engine.position(bot))
    assert triggers["stop"].price == Decimal(109), "1.5 ATR of 2 under the best close of 112"


async def test_the_opposite_call_leaves_the_position(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    await engine.open_position(bot)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)

    result = await engine.hunt(bot)
    await engine.carry_out(bot)

    assert result.exits_requested
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_reversal")
    assert ("BTC-USD", "exit", "signal_reversal") in await decisions(engine, bot)
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("number", range(24))
async def test_a_hunt_that_dies_at_any_step_is_made_up_for(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations, number: int
) -> None:
    bars.write(engine, "BTC-USD", Direction.LONG)
    bars.write(engine, "ETH-USD", Direction.LONG)
    wish = buy("BTC-USD")
    engine.crash.die_at(number)
    try:
        await engine.hunt(bot, wish)
    except Crashed:
        engine.wire()
    engine.crash.die_at(None)

    await engine.hunt(bot, wish)
    await engine.carry_out(bot)

    entered = [row for row in await decisions(engine, bot) if row[1] == "enter_long"]
    assert entered == [
        ("ETH-USD", "enter_long", "setup"),
        ("BTC-USD", "enter_long", "outside_signal"),
    ]
    assert len(engine.account(bot).sends) == 2
    await assert_in_order(engine, bot)


# --- gates ------------------------------------------------------------------------------------


async def test_a_paused_bot_decides_and_does_not_enter(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    await engine.trading.pause(bot.trader.principal)
    bars.write(engine, "BTC-USD", Direction.LONG)

    result = await engine.hunt(bot)

    assert result.orders == ()
    assert await decisions(engine, bot) == [("BTC-USD", "none", "entries_not_allowed")]


async def test_an_unknown_entry_stops_further_risk(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    order_id = await engine.intend_entry(bot, "ETH-USD")
    await engine.execute("UPDATE orders SET state = 'unknown' WHERE id = :id", id=order_id)
    bars.write(engine, "BTC-USD", Direction.LONG)

    await engine.hunt(bot)

    assert await decisions(engine, bot) == [("BTC-USD", "none", "entry_unsettled")]


async def test_caps_hold_under_twenty_signals_at_once(engine: Engine) -> None:
    symbols = tuple(f"C{number}-USD" for number in range(20))
    engine.venue = type(engine.venue)(*symbols)
    engine.wire()
    bars = WrittenEvaluations(engine)
    for symbol in symbols:
        bars.write(engine, symbol, None)
    bot = await engine.start_bot(pairs=symbols, settings={"max_concurrent_positions": 3})
    engine.signals._evaluations = bars
    engine.hunt_service._evaluations = bars

    await asyncio.gather(*(engine.hunt(bot, buy(symbol)) for symbol in symbols))

    orders = await engine.orders(bot)
    assert len(orders) == 3
    assert sum(order.reserved_quote for order in orders) <= Decimal(1_500) * Decimal("1.01")
    reasons = [row[2] for row in await decisions(engine, bot) if row[1] == "none"]
    assert reasons.count("max_positions_reached") == 17


# --- signals ----------------------------------------------------------------------------------


async def test_a_signal_enters_under_its_own_id(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", None)
    wish = buy("BTC-USD", size_usd=Decimal(200))

    await engine.hunt(bot, wish)
    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert (position.id, position.source, position.state) == (wish.signal_id, "signal", "open")
    assert position.entry_notional <= Decimal(200)
    await assert_in_order(engine, bot)


async def test_the_same_signal_twice_and_at_once_makes_one_position(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", None)
    wish = buy("BTC-USD")

    await asyncio.gather(*(engine.hunt(bot, wish) for _ in range(5)))
    repeated = await engine.hunt(bot, wish, wish)

    orders = await engine.orders(bot)
    assert len(orders) == 1
    assert {task.order_id for task in repeated.orders} == {orders[0].id}, "it is still to be sent"


async def test_a_signal_repeated_to_a_later_run_is_not_taken_again(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    """Its position is there already; the new run must neither make a second nor stumble."""
    bars.write(engine, "BTC-USD", None)
    wish = buy("BTC-USD")
    await engine.hunt(bot, wish)
    await engine.carry_out(bot)
    await engine.fire(await engine.position(bot), "stop")
    await engine.carry_out(bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await engine.carry_out(bot)
    await engine.trading.start(
        bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile=None
    )
    await engine.guard(bot)

    result = await engine.hunt(bot, wish)

    assert result.orders == ()
    (count,) = await engine.rows(
        "SELECT count(*) AS positions FROM positions WHERE user_id = :user",
        user=bot.trader.user_id,
    )
    assert count["positions"] == 1


@pytest.mark.usefixtures("bars")
async def test_a_close_signal_leaves_what_is_open(engine: Engine, bot: RunningBot) -> None:
    await engine.open_position(bot)

    result = await engine.hunt(bot, close())
    await engine.carry_out(bot)

    assert (result.orders, result.exits_requested) == ((), True)
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_close")


@pytest.mark.usefixtures("bars")
async def test_a_close_signal_leaves_an_entry_that_is_on_its_way_once_it_has_filled(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)

    result = await engine.hunt(bot, close())
    placed = await engine.place(bot, order_id)
    await engine.carry_out(bot)

    assert (result.orders, placed.guard_due) == ((), True)
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_close")
    await assert_in_order(engine, bot)


@pytest.mark.usefixtures("bars")
async def test_a_signal_for_an_unknown_market_is_refused(engine: Engine, bot: RunningBot) -> None:
    await engine.hunt(bot, buy("DOGE-USD"))

    assert await decisions(engine, bot) == [("DOGE-USD", "none", "unknown_symbol")]


async def test_a_signal_without_a_price_worth_the_name_does_not_stop_the_others(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "ETH-USD", None)
    odd = TradeSignal(
        signal_id=uuid4(), action=buy().action, symbol="BTC-USD", quantity=Decimal(-1)
    )

    await engine.hunt(bot, odd, buy("ETH-USD"))

    actions = {row[0]: row[1] for row in await decisions(engine, bot)}
    assert actions["BTC-USD"] == "none"
    assert actions["ETH-USD"] == "enter_long" or len(await engine.orders(bot)) == 1


@pytest.mark.usefixtures("bars")
async def test_with_the_venue_down_a_hunt_notes_it_and_goes_on(
    engine: Engine, bot: RunningBot
) -> None:
    engine.venue.market.down.add("clock")

    result = await engine.hunt(bot)

    assert result.orders == ()
    assert (await engine.bot(bot)).last_error == "Market data unavailable: clock gets no answer"


async def test_with_the_venue_down_signals_are_kept_for_the_next_try(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", None)
    wish = buy()
    engine.venue.market.down.add("clock")
    with pytest.raises(VenueUnavailable):
        await engine.hunt(bot, wish)

    engine.venue.market.down.clear()
    result = await engine.hunt(bot, wish)

    assert len(result.orders) == 1
    assert (await engine.bot(bot)).last_error is None


@pytest.mark.usefixtures("bars")
async def test_refused_keys_put_the_bot_in_error_and_good_ones_out_of_it(
    engine: Engine, bot: RunningBot
) -> None:
    engine.account(bot).refuses_keys = True
    await engine.hunt(bot)
    broken = await engine.bot(bot)

    engine.account(bot).refuses_keys = False
    await engine.hunt(bot)

    assert (broken.state, broken.last_error) == ("error", "The broker refused the API keys")
    mended = await engine.bot(bot)
    assert (mended.state, mended.last_error) == ("running", None)


@pytest.mark.usefixtures("bars")
async def test_an_emergency_stop_while_the_venue_is_asked_holds_whatever_it_answers(
    engine: Engine, bot: RunningBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noted as an error, good keys would later take the bot for running."""

    async def stop_and_refuse(ref: AccountRef) -> VenueAccount:
        await engine.trading.emergency_stop(
            bot.trader.principal, reason="test", close_positions=False
        )
        raise VenueRefusedKeys(str(ref.account_id))

    monkeypatch.setattr(engine.venue, "account", stop_and_refuse)
    await engine.hunt(bot)
    monkeypatch.undo()
    await engine.hunt(bot)

    assert (await engine.bot(bot)).state == "emergency_stopped"


# --- evaluations ------------------------------------------------------------------------------


async def test_a_bar_is_evaluated_and_stored_once_for_all_bots(alone: Engine) -> None:
    bots = [await alone.start_bot(pairs=("BTC-USD",)) for _ in range(3)]
    market = alone.venue.market
    market.bars["BTC-USD"] = wandering(301, until=NOON)

    await asyncio.gather(*(alone.hunt(bot) for bot in bots))
    alone.wire()
    market.now += BAR.length
    market.bars["BTC-USD"] = wandering(302, until=market.now)
    await asyncio.gather(*(alone.hunt(bot) for bot in bots))

    stored = await alone.rows("SELECT bar_at FROM evaluations ORDER BY bar_at")
    assert [row["bar_at"] for row in stored] == [NOON - BAR.length, NOON]
    for bot in bots:
        assert len(await decisions(alone, bot)) == 2


async def test_too_few_bars_are_said_to_be_too_few(engine: Engine, bot: RunningBot) -> None:
    engine.venue.market.bars["BTC-USD"] = wandering(299, until=NOON)
    engine.venue.market.bars["ETH-USD"] = wandering(1, until=NOON)

    await engine.hunt(bot)

    assert await decisions(engine, bot) == [
        ("BTC-USD", "none", "not_enough_bars"),
        ("ETH-USD", "none", "not_enough_bars"),
    ]


def wandering(number: int, *, until: datetime) -> list[Candle]:
    """Quiet bars, the last of which closes at `until`."""
    opened = [until - BAR.length * (number - index) for index in range(number)]
    return [
        Candle(
            at,
            Decimal(100),
            Decimal(101),
            Decimal(99),
            Decimal(100) + Decimal(at.minute % 7) / 10,
            Decimal(1),
        )
        for at in opened
    ]


# --- life of the entry order --------------------------------------------------------------------


async def test_a_decision_that_waits_too_long_is_never_sent(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    bars.write(engine, "BTC-USD", Direction.LONG)
    (task,) = (await engine.hunt(bot)).orders
    engine.venue.market.now += BAR.length + timedelta(seconds=1)

    result = await engine.place(bot, task.order_id)

    assert result.state is OrderState.DENIED
    assert engine.account(bot).sends == []
