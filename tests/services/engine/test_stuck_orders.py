"""Orders that should have ended by themselves: cancelled, looked up, and only then replaced."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.orders.cancelling import STUCK_AFTER
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration

PART = QUANTITY / 2


async def resting_exit(engine: Engine, bot: RunningBot) -> UUID:
    """A stop's exit that the venue accepted and keeps open, for longer than it may be."""
    position = await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.REST)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    engine.wall.advance(STUCK_AFTER.total_seconds() - 1)
    await engine.settle(bot, task.order_id)
    assert engine.account(bot).cancels == []
    engine.wall.advance(1)
    return task.order_id


async def test_an_exit_that_stays_open_is_cancelled_and_made_again(
    engine: Engine, bot: RunningBot
) -> None:
    stuck = await resting_exit(engine, bot)

    result = await engine.settle(bot, stuck)

    assert result.state == "cancelled"
    row = await engine.order(stuck)
    assert (row.cancels, row.cancel_outcome) == (1, "accepted")
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert [send.side for send in engine.account(bot).sends] == ["buy", "sell", "sell"]
    await assert_in_order(engine, bot)


async def test_what_a_cancelled_exit_had_filled_is_not_sold_again(
    engine: Engine, bot: RunningBot
) -> None:
    stuck = await resting_exit(engine, bot)
    account, row = engine.account(bot), await engine.order(stuck)
    account.fill_part(row.client_order_id, PART)

    await engine.settle(bot, stuck)
    await engine.carry_out(bot)

    sells = [send.quantity for send in account.sends if send.side == "sell"]
    assert sells == [QUANTITY, QUANTITY - PART]
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("answer", [Cancel.LATER, Cancel.TIME_OUT, Cancel.REFUSE])
async def test_nothing_replaces_an_exit_before_its_final_report(
    engine: Engine, bot: RunningBot, answer: Cancel
) -> None:
    stuck = await resting_exit(engine, bot)
    account = engine.account(bot)
    account.cancel_answers.append(answer)

    assert (await engine.settle(bot, stuck)).state == "open"
    assert [task.order_id for task in (await engine.guard(bot)).orders] == [stuck]
    assert (await engine.settle(bot, stuck)).state == "open"
    assert len(account.cancels) == 1, "it is asked again after a delay only"
    outcome = {Cancel.LATER: "accepted", Cancel.TIME_OUT: "unknown", Cancel.REFUSE: "refused"}
    assert (await engine.order(stuck)).cancel_outcome == outcome[answer]

    account.fill_resting((await engine.order(stuck)).client_order_id)
    await engine.carry_out(bot)

    assert (await engine.position(bot)).state == "closed"
    assert [send.side for send in account.sends] == ["buy", "sell"]
    await assert_in_order(engine, bot)


async def test_an_unanswered_cancellation_is_asked_for_again(
    engine: Engine, bot: RunningBot
) -> None:
    stuck = await resting_exit(engine, bot)
    account = engine.account(bot)
    account.cancel_answers.append(Cancel.TIME_OUT)
    await engine.settle(bot, stuck)

    engine.wall.advance(5)
    result = await engine.settle(bot, stuck)

    assert result.state == "cancelled"
    assert len(account.cancels) == 2
    assert (await engine.order(stuck)).cancels == 2


@pytest.mark.parametrize("step", range(14))
async def test_a_crash_while_cancelling_sells_nothing_twice(
    engine: Engine, bot: RunningBot, step: int
) -> None:
    stuck = await resting_exit(engine, bot)
    engine.crash.die_at(step)
    try:
        await engine.settle(bot, stuck)
    except Crashed:
        row = await engine.order(stuck)
        if engine.account(bot).cancels:
            assert row.cancels == 1, "an attempt is recorded before it leaves"
    engine.crash.die_at(None)
    engine.wire()

    await engine.carry_out(bot)

    assert (await engine.position(bot)).state == "closed"
    assert [send.side for send in engine.account(bot).sends] == ["buy", "sell", "sell"]
    await assert_in_order(engine, bot)


async def test_an_entry_that_stays_open_is_cancelled_too(engine: Engine, bot: RunningBot) -> None:
    engine.account(bot).answers.append(Answer.REST)
    entry = await engine.intend_entry(bot)
    await engine.place(bot, entry)
    engine.wall.advance(STUCK_AFTER.total_seconds())

    assert (await engine.settle(bot, entry)).state == "cancelled"
    assert (await engine.position(bot)).state == "cancelled"


async def test_a_bot_that_is_stopped_ends_flat_although_its_exit_was_stuck(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.REST)
    await engine.trading.emergency_stop(bot.trader.principal, reason="test", close_positions=True)

    view = await engine.carry_out(bot)

    assert view.finished
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)
