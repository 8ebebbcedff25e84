"""Closes of positions that cannot leave: however many come, what they cost is bounded."""

from __future__ import annotations

import pytest

from domain.markets import Mode
from tests.alerts.harness import Desk
from tests.support.engine import RunningBot

pytestmark = pytest.mark.integration

CLOSES = 60
SECONDS_BETWEEN = 4
"""No key's minute is ever full."""

MANY = 10


async def stuck_bot(desk: Desk) -> tuple[RunningBot, str]:
    """A bot with a position whose exit fails: its keys were withdrawn at the broker."""
    bot, key = await desk.bot_with_key(mode=Mode.LIVE)
    await desk.engine.open_position(bot)
    desk.engine.account(bot).refuses_keys = True
    return bot, key


async def test_parts_of_a_position_that_cannot_leave_do_not_pile_up(desk: Desk) -> None:
    """The exits worker's poll reads open requests four times a second."""
    bot, key = await stuck_bot(desk)

    for number in range(CLOSES):
        await desk.send(key, action="close", percent=1, id=f"part-{number}")
        desk.engine.wall.advance(SECONDS_BETWEEN)

    (found,) = await desk.engine.rows(
        "SELECT count(*) AS requests FROM exit_requests WHERE state = 'open' AND user_id = :id",
        id=bot.trader.user_id,
    )
    assert found["requests"] <= MANY
