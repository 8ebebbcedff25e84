"""A look-up that hangs delays neither the record of an acceptance nor the end of an exit."""

from __future__ import annotations

import pytest

from domain.ports import VenueUnavailable
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot

pytestmark = pytest.mark.integration


async def test_a_hanging_look_up_does_not_delay_the_record_of_an_acceptance(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    engine.account(bot).hangs_at_look_ups = True

    with pytest.raises(VenueUnavailable):
        await engine.place(bot, task.order_id)

    order = await engine.order(task.order_id)
    assert order.state == "open"
    assert order.venue_order_id is not None
    engine.account(bot).hangs_at_look_ups = False
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)
