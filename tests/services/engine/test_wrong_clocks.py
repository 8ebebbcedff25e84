"""A venue whose clock is wrong while an order is sent, and right again afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.money import ZERO
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot, entry_rows
from tests.support.fake_venue import Answer, FakeMarket

pytestmark = pytest.mark.integration

OFFSETS = [timedelta(hours=1), timedelta(hours=-1)]
ANSWERS = [Answer.FILL, Answer.FILL_BUT_TIME_OUT]


def show_clock(market: FakeMarket, offset: timedelta) -> None:
    """Let the venue's clock be off; what its orders and executions carry is right."""
    market.clock_offset = offset


async def wait(engine: Engine, seconds: int = 20) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_entry_that_was_sent_by_a_wrong_clock_is_found_and_protected(
    engine: Engine, bot: RunningBot, offset: timedelta, answer: Answer
) -> None:
    market = engine.venue.market
    show_clock(market, offset)
    position, order = entry_rows(bot, "BTC-USD", market.now + offset, engine.wall.now())
    async with engine.database.as_system() as session:
        session.add(position)
        await session.flush()
        session.add(order)
    # Of a replay, whose days are not ours, our own clock tells nothing.
    await engine.execute(
        "UPDATE orders SET intended_at = intended_at + interval '400 days' WHERE id = :id",
        id=order.id,
    )
    engine.account(bot).answers.append(answer)
    await engine.place(bot, order.id)

    show_clock(market, timedelta(0))
    for _ in range(4):
        await wait(engine)
        await engine.settle(bot, order.id)
    await wait(engine, 3600)
    await engine.settle(bot, order.id)

    assert (await engine.position(bot)).state == "open"
    assert "stop" in await engine.triggers(await engine.position(bot))
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_exit_that_was_sent_by_a_wrong_clock_is_settled(
    engine: Engine, bot: RunningBot, offset: timedelta, answer: Answer
) -> None:
    position = await engine.open_position(bot)
    engine.account(bot).repeats_known_orders = True
    market = engine.venue.market
    show_clock(market, offset)
    await engine.watching.look(market.key)
    await engine.trading.close_position(bot.trader.principal, position.id)
    (task,) = (await engine.guard(bot)).orders
    engine.account(bot).answers.append(answer)
    await engine.place(bot, task.order_id)

    show_clock(market, timedelta(0))
    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", ZERO)
    await assert_in_order(engine, bot)
