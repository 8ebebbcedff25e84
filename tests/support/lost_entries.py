"""Entries that are taken for lost and come back."""

from __future__ import annotations

from uuid import UUID

from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer


async def lose_entry(engine: Engine, bot: RunningBot, symbol: str = "BTC-USD") -> UUID:
    """An entry that fills and is listed only after it was taken for absent."""
    order_id = await engine.intend_entry(bot, symbol)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.place(bot, order_id)
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, order_id)).state == "absent"
    engine.account(bot).listing_delay = GRACE * 0
    return order_id
