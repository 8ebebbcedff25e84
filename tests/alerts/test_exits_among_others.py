"""Alerts that close, among entries that wait, rows that cannot be read and closes before them."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select

from models.alerts import WebhookKey
from services.errors import RateLimited
from tests.alerts.harness import Desk
from tests.alerts.test_exits import CLOSED, close_requested, ended
from tests.api.harness import ALERTS_A_MINUTE as A_MINUTE
from tests.support.engine import RunningBot

pytestmark = pytest.mark.integration


async def test_a_close_is_decided_however_many_entries_wait_before_it(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    await desk.engine.execute(
        "INSERT INTO alerts (id, user_id, key_id, bot_id, state, action, symbol, trade_id,"
        " received_at, expires_at)"
        " SELECT gen_random_uuid(), k.user_id, k.id, :bot, 'processing', 'buy', 'ETH-USD',"
        " gen_random_uuid(), cast(:now AS timestamptz) - interval '61 seconds',"
        " cast(:now AS timestamptz) + interval '1 minute'"
        " FROM webhook_keys k, generate_series(1, 150) WHERE k.user_id = :user",
        bot=bot.bot_id,
        user=bot.trader.user_id,
        now=desk.engine.wall.now(),
    )

    receipt = await desk.send(key, action="close")

    assert (await desk.alert(receipt.alert_id))["state"] == "accepted"
    assert await close_requested(desk, bot) == "signal_close"


async def test_a_minute_full_of_entries_lets_a_close_in(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    for number in range(A_MINUTE):
        await desk.send(key, symbol="ETH-USD", id=f"e{number}")
    with pytest.raises(RateLimited):
        await desk.send(key, symbol="ETH-USD", id="one too many")

    receipt = await desk.send(key, action="close")

    assert (await desk.alert(receipt.alert_id))["state"] == "accepted"


async def test_a_close_is_no_repeat_of_one_that_closed_the_position_before(desk: Desk) -> None:
    """Nobody has followed the first one since it got through."""
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    await desk.send(key, action="close")
    await desk.engine.carry_out(bot)
    desk.engine.wall.advance(-30)
    await desk.engine.open_position(bot)

    receipt = await desk.send(key, action="close")

    assert not receipt.is_duplicate
    assert await ended(desk, bot) == CLOSED


async def _spoil(desk: Desk, bot: RunningBot, symbol: str = "BTC-USD") -> None:
    """Make the rules of a position unreadable."""
    await desk.engine.execute(
        "UPDATE positions SET rules = '{}' WHERE account_id = :id AND symbol = :symbol",
        id=bot.trader.account_id,
        symbol=symbol,
    )


async def test_an_unreadable_position_keeps_no_other_from_being_closed(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    await desk.engine.open_position(bot, "ETH-USD")
    await _spoil(desk, bot)

    unreadable = await desk.send(key, action="close", percent=50)
    await desk.send(key, action="close", symbol="ETH-USD")

    assert (await desk.alert(unreadable.alert_id))["state"] == "processing"
    assert await close_requested(desk, bot, "ETH-USD") == "signal_close"


async def test_an_unreadable_position_keeps_no_other_user_waiting(alone: Desk) -> None:
    bots = [await alone.bot_with_key() for _ in range(3)]
    for bot, _key in bots:
        await alone.engine.open_position(bot)
        await alone.engine.execute(
            "INSERT INTO alerts (id, user_id, key_id, bot_id, state, action, symbol, percent,"
            " trade_id, received_at, expires_at)"
            " SELECT gen_random_uuid(), user_id, id, :bot, 'processing', 'close', 'BTC-USD', 50,"
            " gen_random_uuid(), :now, cast(:now AS timestamptz) + interval '15 minutes'"
            " FROM webhook_keys WHERE user_id = :user",
            bot=bot.bot_id,
            user=bot.trader.user_id,
            now=alone.engine.wall.now(),
        )
    await _spoil(alone, bots[0][0])
    alone.engine.wall.advance(10)

    await alone.sweep.sweep()

    states = [(await alone.alerts(bot.trader))[0]["state"] for bot, _ in bots]
    assert states == ["processing", "accepted", "accepted"]


@pytest.mark.parametrize("action", ["close", "buy"])
async def test_a_flood_with_one_key_keeps_no_other_key_waiting(desk: Desk, action: str) -> None:
    """They wait for the key's row one at a time, whoever holds that, the others without one."""
    bot, key = await desk.bot_with_key()
    other, others_key = await desk.bot_with_key()
    await desk.engine.open_position(other)
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with desk.engine.database.as_system() as session:
            keys = select(WebhookKey).where(WebhookKey.user_id == bot.trader.user_id)
            await session.exec(keys.with_for_update())
            held.set()
            await release.wait()

    holding = asyncio.create_task(hold())
    await held.wait()
    flood = [asyncio.create_task(desk.send(key, action=action, id=str(n))) for n in range(20)]
    await asyncio.sleep(0.5)
    try:
        async with asyncio.timeout(3):
            await desk.send(others_key, action=action, symbol="BTC-USD")
    finally:
        release.set()
        await holding
        await asyncio.gather(*flood, return_exceptions=True)

    assert len(await desk.alerts(other.trader)) == 1
