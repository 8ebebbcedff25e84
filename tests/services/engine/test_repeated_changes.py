"""Commands that are given again while the first one waits for an entry that is on its way.

A second click, or a client that lost the first answer: what the second answer says must be true.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from domain.markets import Mode
from services.errors import NotRunning
from services.user_settings import UserSettingsService
from tests.services.engine import test_settings_gate as gate
from tests.services.engine.test_settings_gate import CHANGES, Change, Scene
from tests.support.engine import Engine

pytestmark = pytest.mark.integration

settings = gate.settings
every_change = pytest.mark.parametrize(
    "change", [it for it, _refusal in CHANGES.values()], ids=list(CHANGES)
)


@every_change
async def test_a_repeated_change_is_answered_no_sooner_than_the_first(
    engine: Engine, settings: UserSettingsService, change: Change
) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    order_id = await engine.intend_entry(bot)
    await engine.execute(
        "UPDATE orders SET state = 'sending', sends = 1, sent_at = :at WHERE id = :id",
        at=engine.wall.now(),
        id=order_id,
    )
    scene = Scene(engine, bot, settings)

    async def act() -> None:
        with suppress(NotRunning):  # what a second stop is answered, and what is as true then
            await change(scene)

    first = asyncio.create_task(act())
    await asyncio.sleep(0.5)
    assert not first.done()  # it waits for the entry

    second = asyncio.create_task(act())
    await asyncio.sleep(0.5)
    is_answered, is_leaving = second.done(), (await engine.order(order_id)).state == "sending"
    await engine.execute("UPDATE orders SET state = 'absent' WHERE id = :id", id=order_id)
    await asyncio.gather(first, second)

    assert is_leaving
    assert not is_answered


async def test_a_repeated_change_tells_the_bot_of_what_nobody_told_it(
    engine: Engine, settings: UserSettingsService
) -> None:
    """The process that made the change died before it told."""
    bot = await engine.start_bot()
    await engine.execute(
        "UPDATE user_settings SET risk_level = 'low' WHERE user_id = :id", id=bot.trader.user_id
    )
    statement = "SELECT revision FROM bots WHERE id = :id"
    (before,) = await engine.rows(statement, id=bot.bot_id)

    assert await settings.update(bot.trader.principal, {"risk_level": "low"}) == []

    (after,) = await engine.rows(statement, id=bot.bot_id)
    assert after["revision"] > before["revision"]
