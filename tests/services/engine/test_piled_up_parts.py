"""Many parts of one position that are asked for and cannot be sold: few requests, nothing lost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.orders import exit_requests
from services.orders.exit_requests import OPEN_MAX
from tests.services.engine.test_partial_exits import ask, request_row, sold
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot

pytestmark = pytest.mark.integration

MANY = 60


async def open_requests(engine: Engine, bot: RunningBot) -> int:
    (found,) = await engine.rows(
        "SELECT count(*) AS requests FROM exit_requests WHERE state = 'open' AND user_id = :id",
        id=bot.trader.user_id,
    )
    return int(found["requests"])


async def test_many_parts_are_few_requests_and_all_that_was_asked_for_is_sold(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    for number in range(MANY):
        await ask(engine, position, "0.03", cause=f"command:{number}")
        engine.wall.advance(1)
    assert await open_requests(engine, bot) == OPEN_MAX

    await engine.carry_out(bot)

    assert await open_requests(engine, bot) == 0
    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", 3 - MANY * Decimal("0.03"))
    await assert_in_order(engine, bot)


async def test_parts_beyond_the_bound_that_come_to_all_close_the_position(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    for number in range(MANY):
        await ask(engine, position, "0.05", cause=f"command:{number}")

    assert (await engine.position(bot)).close_cause == f"command:{MANY - 1}"
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_part_that_was_merged_is_merged_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    for number in range(OPEN_MAX + 1):
        await ask(engine, position, "0.1", cause=f"command:{number}")
        engine.wall.advance(1)

    again = await ask(engine, position, "0.1", cause=f"command:{OPEN_MAX}")

    assert again is not None
    assert again.state == "merged"
    assert again.merged_into is not None
    assert (await request_row(engine, again.merged_into)).quantity == Decimal("0.2")


async def test_a_request_whose_order_is_at_the_venue_sells_what_was_merged_after_it(
    engine: Engine, bot: RunningBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_requests, "OPEN_MAX", 1)
    position = await engine.open_position(bot)
    await ask(engine, position, "1", cause="command:1")
    (task,) = (await engine.guard(bot)).orders
    await ask(engine, position, "0.5", cause="command:2")

    await engine.place(bot, task.order_id)
    await engine.carry_out(bot)

    assert await sold(engine, bot) == [("reduce", Decimal(1)), ("reduce", Decimal("0.5"))]
    assert await open_requests(engine, bot) == 0
    await assert_in_order(engine, bot)


async def test_parts_of_a_pending_position_are_merged_and_leave_once_it_has_filled(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    position = await engine.position(bot)
    for number in range(OPEN_MAX + 2):
        await ask(engine, position, "0.1", cause=f"command:{number}")
    assert await open_requests(engine, bot) == OPEN_MAX

    await engine.place(bot, order_id)
    await engine.carry_out(bot)

    assert (await engine.position(bot)).open_quantity == Decimal(3) - Decimal("0.1") * (
        OPEN_MAX + 2
    )
