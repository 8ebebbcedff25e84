"""Positions of runs that have ended leave all the same, as long as there are keys to sell them."""

from __future__ import annotations

import pytest
from sqlmodel import select

from domain.markets import Mode
from domain.strategies.apex import ExitReason
from models.trading import Position
from services.orders.exit_requests import request_exit
from services.trading.exiting import ExitService
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot

pytestmark = pytest.mark.integration


async def end(engine: Engine, bot: RunningBot) -> None:
    """End the run although its position is open, as an earlier version could."""
    await engine.execute(
        "UPDATE bot_runs SET state = 'ended', ended_at = now() WHERE id = :id", id=bot.run_id
    )
    await engine.execute(
        "UPDATE bots SET state = 'emergency_stopped' WHERE id = :id", id=bot.bot_id
    )


async def ask(engine: Engine, position: Position) -> None:
    async with engine.database.for_user(position.user_id) as session:
        row = (
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
        ).one()
        await request_exit(
            session, row, cause="command:1", reason=ExitReason.MANUAL, wall=engine.wall.now()
        )


async def test_a_position_of_an_ended_run_can_be_closed(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await end(engine, bot)
    await ask(engine, position)

    view = await engine.carry_out(bot)

    assert view.finished
    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "manual")
    assert (await engine.run(bot)).state == "ended"
    await assert_in_order(engine, bot)


async def test_the_stop_of_an_ended_run_is_carried_out_by_the_exits_worker_too(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await end(engine, bot)
    await engine.fire(position, "stop")

    due = await ExitService(engine.database, engine.wall).make_due(bot.ref)
    for task in due.orders:
        await engine.place(bot, task.order_id)

    assert (await engine.position(bot)).exit_reason == "stop_loss"


async def test_a_failing_exit_of_an_ended_run_keeps_its_bot_awake(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await end(engine, bot)
    await ask(engine, position)
    engine.venue.refuses_keys = True
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)

    view = await engine.guard(bot)

    assert not view.finished
    assert view.recheck_seconds is not None


async def test_nothing_is_tried_through_a_connection_that_was_removed(engine: Engine) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    position = await engine.open_position(bot)
    await engine.execute(
        "UPDATE connections SET status = 'removed', sealed = NULL WHERE user_id = :id",
        id=bot.trader.user_id,
    )
    await end(engine, bot)
    await ask(engine, position)

    view = await engine.guard(bot)

    assert (view.orders, view.finished) == ((), True)
