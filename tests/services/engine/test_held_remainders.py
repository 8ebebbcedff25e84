"""An order by hand holds nearly all of a position; what is free is too little for an order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.strategies.apex import ExitReason
from models.trading import Position
from services.orders.exit_requests import request_exit
from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot

pytestmark = pytest.mark.integration

FREE = Decimal("0.005")


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    return await alone.start_bot()


async def open_and_hold(engine: Engine, bot: RunningBot, **minimums: Any) -> Position:
    """A position of which less is free than one order has to have."""
    market = engine.venue.market
    market.rules_by_symbol["BTC-USD"] = replace(market.rules_by_symbol["BTC-USD"], **minimums)
    position = await engine.open_position(bot)
    engine.account(bot).checks_value = True
    engine.account(bot).held["BTC"] = QUANTITY - FREE
    return position


async def try_for_a_while(engine: Engine, bot: RunningBot) -> None:
    for _ in range(4):
        for task in (await engine.guard(bot)).orders:
            await engine.place(bot, task.order_id)
        engine.wall.advance(60)


@pytest.mark.parametrize("minimum", ["quantity_min", "notional_min"])
async def test_an_exit_goes_on_once_what_was_held_is_free_again(
    alone: Engine, bot: RunningBot, minimum: str
) -> None:
    least = {"quantity_min": Decimal("0.01"), "notional_min": Decimal(1)}[minimum]
    position = await open_and_hold(alone, bot, **{minimum: least})
    await alone.fire(position, "stop")
    await try_for_a_while(alone, bot)
    assert (await alone.position(bot)).open_quantity == QUANTITY

    alone.account(bot).held.clear()
    await alone.carry_out(bot)

    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_a_request_for_a_part_waits_for_what_is_held(alone: Engine, bot: RunningBot) -> None:
    position = await open_and_hold(alone, bot, quantity_min=Decimal("0.01"))
    async with alone.database.for_user(bot.trader.user_id) as session:
        row = await session.get_one(Position, position.id)
        asked = await request_exit(
            session,
            row,
            cause="test:part",
            reason=ExitReason.MANUAL,
            wall=alone.wall.now(),
            quantity=Decimal(1),
        )
        assert asked is not None
    await try_for_a_while(alone, bot)

    alone.account(bot).held.clear()
    await alone.carry_out(bot)

    assert (await alone.position(bot)).open_quantity == QUANTITY - 1
    (request,) = await alone.rows("SELECT state FROM exit_requests")
    assert request["state"] == "done"
