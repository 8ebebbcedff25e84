"""Protection and exits: armed by the entry's fill, one live exit at a time, and the end of runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain.markets import Mode
from domain.orders import OrderState
from models.bots import RunState
from models.connections import ConnectionStatus
from services.errors import NotRunning
from services.orders.booking import book
from services.orders.row_locks import lock_position_and_order
from services.trading.exit_delays import RETRY_SECONDS_PATIENT
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot, close
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def test_protection_is_attached_by_the_entry_fill(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)

    triggers = await engine.triggers(position)

    assert {leg: (row.direction, row.price) for leg, row in triggers.items()} == {
        "stop": ("at_or_below", Decimal(97)),
        "target_1": ("at_or_above", Decimal(103)),
        "target_2": ("at_or_above", Decimal(106)),
        "target_3": ("at_or_above", Decimal(109)),
    }
    assert (position.stop_loss, position.take_profit) == (Decimal(97), Decimal(103))


async def test_the_first_target_sells_its_part_and_moves_the_stop_to_break_even_plus_fees(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    engine.venue.market.last["BTC-USD"] = Decimal(103)
    await engine.fire(position, "target_1")

    await engine.carry_out(bot)

    position = await engine.position(bot)
    triggers = await engine.triggers(position)
    assert position.open_quantity == Decimal("1.8"), "40 percent of 3 are sold"
    assert set(triggers) == {"stop", "target_2", "target_3"}
    assert triggers["stop"].price == Decimal("100.20"), "entry plus a round trip of 0.2 percent"
    assert position.take_profit == Decimal(106)
    await assert_in_order(engine, bot)


async def test_all_three_targets_close_the_position_and_the_day_has_one_win(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    for leg, price in (("target_1", 103), ("target_2", 106), ("target_3", 109)):
        engine.venue.market.last["BTC-USD"] = Decimal(price)
        await engine.fire(position, leg)
        await engine.carry_out(bot)

    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "take_profit")
    # 1.2 x 3 + 0.9 x 6 + 0.9 x 9 = 17.1; fees 0.1 percent of 300 in and of 317.1 out.
    assert (position.realized_pnl, position.fees) == (Decimal("17.1"), Decimal("0.6171"))
    (day,) = await engine.rows(
        "SELECT trades, wins, net_pnl FROM daily_results WHERE run_id = :run", run=bot.run_id
    )
    assert day == {"trades": 1, "wins": 1, "net_pnl": Decimal("16.4829")}
    await assert_in_order(engine, bot)


@pytest.mark.parametrize(("first", "reason"), [(None, "stop_loss"), ("target_1", "trailing_stop")])
async def test_the_reason_of_a_stop_says_whether_it_was_trailing(
    engine: Engine, bot: RunningBot, first: str | None, reason: str
) -> None:
    position = await engine.open_position(bot)
    if first is not None:
        await engine.fire(position, first)
        await engine.carry_out(bot)

    await engine.fire(position, "stop")
    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", reason)
    await assert_in_order(engine, bot)


async def test_the_guard_makes_exactly_one_live_exit(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    await engine.fire(position, "stop")

    views = await asyncio.gather(*(engine.guard(bot) for _ in range(6)))

    assert {len(view.orders) for view in views} == {1}
    assert {view.orders[0].leg for view in views} == {"stop"}, "the stop goes before a target"


async def test_a_refused_exit_is_repeated_with_growing_delays(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    engine.account(bot).answers.extend([Answer.REFUSE] * 8)
    delays = []
    for _ in range(8):
        (task,) = (await engine.guard(bot)).orders
        await engine.place(bot, task.order_id)
        delay = (await engine.guard(bot)).recheck_seconds
        assert delay is not None
        delays.append(round(delay))
        engine.wall.advance(delay)

    await engine.carry_out(bot)

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    attempts = [order.attempt for order in await engine.orders(bot) if order.leg == "stop"]
    assert sorted(attempts) == list(range(1, 10))
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_an_exit_that_failed_for_days_is_still_made_and_blocks_no_other(
    engine: Engine, bot: RunningBot
) -> None:
    """Refused every ten minutes, it comes to its 1,100th attempt within a week."""
    refused = await engine.open_position(bot, "BTC-USD")
    await engine.fire(refused, "stop")
    engine.account(bot).answers.append(Answer.REFUSE)
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    await engine.execute("UPDATE orders SET attempt = 1100 WHERE id = :id", id=task.order_id)
    other = await engine.open_position(bot, "ETH-USD")
    await engine.fire(other, "stop")

    view = await engine.guard(bot)

    assert [order.symbol for order in view.orders] == ["ETH-USD"]
    assert view.recheck_seconds == RETRY_SECONDS_PATIENT
    await engine.carry_out(bot)
    assert (await engine.position(bot, "BTC-USD")).state == "closed"
    assert (await engine.position(bot, "ETH-USD")).state == "closed"


async def test_an_exit_that_gets_on_does_not_slow_down(engine: Engine, bot: RunningBot) -> None:
    """A thin market gives a part at a time, while the price may be falling."""
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    answers = [Answer.REFUSE, Answer.REFUSE, *[Answer.FILL_PART] * 3, Answer.REFUSE, Answer.REFUSE]
    engine.account(bot).answers.extend(answers)
    delays = []
    for _ in answers:
        (task,) = (await engine.guard(bot)).orders
        await engine.place(bot, task.order_id)
        delay = (await engine.guard(bot)).recheck_seconds
        assert delay is not None
        delays.append(round(delay))
        engine.wall.advance(delay)

    assert delays == [1, 2, 1, 1, 1, 1, 2]
    await engine.carry_out(bot)
    await assert_in_order(engine, bot)


async def test_a_stop_that_fills_in_part_goes_on_with_the_rest(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    engine.account(bot).answers.append(Answer.FILL_PART)

    await engine.carry_out(bot)

    sold = [order.filled_quantity for order in await engine.orders(bot) if order.leg == "stop"]
    assert sorted(sold) == [Decimal("1.5"), Decimal("1.5")]
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_closing_a_position_twice_sells_it_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)

    await asyncio.gather(
        *(engine.trading.close_position(bot.trader.principal, position.id) for _ in range(3))
    )
    await engine.carry_out(bot)

    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "manual")
    assert len(engine.account(bot).sends) == 2
    await assert_in_order(engine, bot)


async def test_stopping_with_close_flattens_and_ends_the_run(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot, "BTC-USD")
    await engine.open_position(bot, "ETH-USD")

    stopping = asyncio.create_task(
        engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)
    )
    await asyncio.sleep(0.05)
    view = await engine.carry_out(bot)
    stopped = await stopping

    assert (stopped.status, stopped.open_positions) == ("stopped", 0)
    assert view.finished
    assert (await engine.run(bot)).state == RunState.ENDED
    for symbol in ("BTC-USD", "ETH-USD"):
        position = await engine.position(bot, symbol)
        assert (position.state, position.exit_reason) == ("closed", "bot_stopped")
    await assert_in_order(engine, bot)


async def test_stopping_without_close_leaves_positions_to_their_stops_until_flat(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    stopped = await engine.trading.stop(
        bot.trader.principal, close_positions=False, emergency=False
    )
    left = await engine.guard(bot)
    await engine.fire(position, "stop")
    done = await engine.carry_out(bot)

    assert stopped.open_positions == 1
    assert (left.finished, left.open_positions, left.may_enter) == (False, 1, False)
    assert done.finished
    assert (await engine.position(bot)).exit_reason == "stop_loss"


@pytest.mark.parametrize("emergency", [False, True])
async def test_what_a_stop_left_open_is_closed_by_a_second_one(
    engine: Engine, bot: RunningBot, emergency: bool
) -> None:
    await engine.open_position(bot)
    principal = bot.trader.principal
    first = await engine.trading.stop(principal, close_positions=False, emergency=emergency)

    with pytest.raises(NotRunning):
        await engine.trading.stop(principal, close_positions=False, emergency=False)
    stopping = asyncio.create_task(
        engine.trading.stop(principal, close_positions=True, emergency=False)
    )
    await asyncio.sleep(0.05)
    view = await engine.carry_out(bot)
    second = await stopping

    assert (first.open_positions, second.open_positions) == (1, 0)
    assert second.status == first.status, "an emergency stop is not lifted by closing"
    assert view.finished
    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "bot_stopped")
    with pytest.raises(NotRunning):
        await engine.trading.stop(principal, close_positions=True, emergency=False)
    await assert_in_order(engine, bot)


async def test_a_pending_entry_at_the_stop_is_denied_and_the_run_ends(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)

    view = await engine.carry_out(bot)

    assert view.finished
    assert (await engine.order(order_id)).state == OrderState.DENIED
    assert engine.account(bot).sends == []


async def test_an_entry_on_its_way_at_an_emergency_stop_is_sold_once_it_has_filled(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.place(bot, order_id)

    stopping = asyncio.create_task(
        engine.trading.emergency_stop(bot.trader.principal, reason="test", close_positions=True)
    )
    await asyncio.sleep(0.05)
    await engine.carry_out(bot)
    result = await stopping

    assert (result.positions_closed, result.positions_closing) == (1, 0)
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "emergency_stop")
    await assert_in_order(engine, bot)


async def test_an_exit_only_connection_is_removed_when_it_is_flat(engine: Engine) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    position = await engine.open_position(bot)
    connection_id = bot.trader.connection_id
    assert connection_id is not None
    await engine.execute(
        "UPDATE connections SET status = 'exit_only', sealed = 'x' WHERE id = :id",
        id=connection_id,
    )
    await engine.trading.connection_removed(bot.trader.principal, connection_id)
    still_needed = await engine.rows(
        "SELECT status FROM connections WHERE id = :id", id=connection_id
    )

    await engine.fire(position, "stop")
    await engine.carry_out(bot)

    (row,) = await engine.rows(
        "SELECT status, sealed FROM connections WHERE id = :id", id=connection_id
    )
    assert still_needed == [{"status": ConnectionStatus.EXIT_ONLY}]
    assert row == {"status": ConnectionStatus.REMOVED, "sealed": None}
    assert (await engine.bot(bot)).state == "stopped"


async def test_a_connection_removed_by_force_leaves_nothing_that_wakes_the_bot(
    engine: Engine,
) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    position = await engine.open_position(bot)

    removal = await engine.remove_broker(bot, force=True)

    assert removal.open_positions == 1
    assert await engine.triggers(position) == {}
    assert (await engine.guard(bot)).finished


async def booked_while(
    engine: Engine,
    bot: RunningBot,
    order_id: UUID,
    other: Callable[[], Coroutine[Any, Any, object]],
) -> None:
    """Book an order's fills in a transaction that something else runs into half-way."""
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.place(bot, order_id)
    at_venue = engine.account(bot).orders[(await engine.order(order_id)).client_order_id]
    async with engine.database.for_user(bot.trader.user_id) as session:
        await lock_position_and_order(session, order_id)
        meanwhile = asyncio.create_task(other())
        await asyncio.sleep(0.2)
        await book(
            session,
            order_id,
            fills=at_venue.fills,
            state=OrderState.FILLED,
            venue_order_id=at_venue.report.venue_order_id,
            at=engine.venue.market.now,
            wall=engine.wall.now(),
        )
    await meanwhile


async def test_booking_a_fill_and_an_emergency_stop_do_not_deadlock(
    engine: Engine, bot: RunningBot
) -> None:
    """The booking holds the position and refers to the bot; the stop holds the bot."""
    await booked_while(
        engine,
        bot,
        await engine.intend_entry(bot),
        lambda: engine.trading.emergency_stop(
            bot.trader.principal, reason="test", close_positions=False
        ),
    )

    assert (await engine.position(bot)).state == "open"
    assert (await engine.bot(bot)).state == "emergency_stopped"


async def test_booking_a_fill_and_closing_everything_do_not_deadlock(
    engine: Engine, bot: RunningBot
) -> None:
    stopped = booked_while(
        engine,
        bot,
        await engine.intend_entry(bot),
        lambda: engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False),
    )
    booking = asyncio.create_task(stopped)
    await asyncio.sleep(0.5)
    await engine.carry_out(bot)
    await booking

    assert (await engine.position(bot)).exit_reason == "bot_stopped"
    await assert_in_order(engine, bot)


async def test_booking_a_fill_and_hunting_do_not_deadlock(engine: Engine, bot: RunningBot) -> None:
    """The hunt holds the account and wants the position; a fill refers to the account."""
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    (task,) = (await engine.guard(bot)).orders

    await booked_while(engine, bot, task.order_id, lambda: engine.hunt(bot, close()))
    await engine.carry_out(bot)

    assert (await engine.position(bot)).exit_reason == "signal_close"
    await assert_in_order(engine, bot)
