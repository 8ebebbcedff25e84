"""Alerts that close, while another transaction has one of the positions locked."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from domain.contracts.bots import SignalAction, TradeSignal
from domain.markets import Mode
from domain.ports import VenueUnavailable
from services.trading.signal_exits import decide_exits
from tests.alerts.harness import Desk
from tests.support.engine import RunningBot, close
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration


async def close_requested(desk: Desk, bot: RunningBot, symbol: str = "BTC-USD") -> str | None:
    return (await desk.engine.position(bot, symbol)).close_requested


async def stop(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)


async def test_a_close_waits_for_no_other_position_that_is_locked(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    locked = await desk.engine.open_position(bot, "ETH-USD")
    await desk.engine.open_position(bot)

    async with locked_position(desk.engine.database, locked):
        waiting = await desk.send(key, action="close", symbol="ETH-USD")
        decided = await desk.send(key, action="close")
        assert await close_requested(desk, bot) == "signal_close"
        assert (await desk.alert(decided.alert_id))["state"] == "accepted"
        assert (await desk.alert(waiting.alert_id))["state"] == "processing"
        assert (await desk.follow(bot, waiting.alert_id)).state == "processing"
    assert (await desk.follow(bot, waiting.alert_id)).state == "accepted"
    assert await close_requested(desk, bot, "ETH-USD") == "signal_close"


@pytest.mark.parametrize("way", ["hunt", "follow"])
async def test_a_sale_that_waits_for_a_lock_is_an_exit_of_a_stopped_bot_too(
    desk: Desk, way: str
) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    await stop(desk, bot)

    async with locked_position(desk.engine.database, position):
        sale = await desk.send(key, action="sell")
        if way == "hunt":
            await desk.engine.hunt(bot)
        else:
            await desk.follow(bot, sale.alert_id)
        assert (await desk.alert(sale.alert_id))["state"] == "processing"
    await desk.following.decide_exits(bot.trader.user_id)

    assert (await desk.alert(sale.alert_id))["state"] == "accepted"
    assert await close_requested(desk, bot) == "signal_close"


async def test_a_close_asks_the_account_that_is_free_at_once(desk: Desk) -> None:
    """And is over once the other one was asked too; nothing is asked twice."""
    earlier, key = await desk.bot_with_key(mode=Mode.LIVE)
    locked = await desk.engine.open_position(earlier)
    await stop(desk, earlier)
    latest = await desk.engine.start_on_paper(earlier)
    await desk.engine.open_position(latest)

    async with locked_position(desk.engine.database, locked):
        part = await desk.send(key, action="close", quantity="1")
        assert (await desk.alert(part.alert_id))["state"] == "processing"
        await desk.engine.carry_out(latest)
        assert (await desk.engine.position(latest)).open_quantity == 2
    await desk.following.decide_exits(latest.trader.user_id)

    assert (await desk.alert(part.alert_id))["state"] == "accepted"
    await desk.engine.carry_out(latest)
    for bot in (earlier, latest):
        assert (await desk.engine.position(bot)).open_quantity == 2


async def test_an_alert_that_cannot_be_stored_as_an_exit_keeps_no_other(desk: Desk) -> None:
    """The database refuses its request: its part has more digits than there can be."""
    bot, _key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    await desk.engine.open_position(bot, "ETH-USD")
    bad = TradeSignal(
        signal_id=uuid4(),
        action=SignalAction.CLOSE,
        symbol="BTC-USD",
        quantity=Decimal("1e-20000"),
    )

    with capture_logs():  # to render a traceback of the database's takes longer than it waits
        async with desk.engine.database.for_user(bot.trader.user_id) as session:
            exits = await decide_exits(
                session, bot.trader.user_id, desk.engine.wall.now(), [bad, close("ETH-USD")]
            )

    assert exits.waiting == {bad.signal_id}
    assert await close_requested(desk, bot, "ETH-USD") == "signal_close"
    assert await close_requested(desk, bot) is None


async def test_a_signal_of_a_hunt_that_waits_for_a_lock_is_not_lost(desk: Desk) -> None:
    bot, _key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    signal = close()

    async with locked_position(desk.engine.database, position):
        with pytest.raises(VenueUnavailable):  # its workflow hands it over again
            await desk.engine.hunt(bot, signal)
    await desk.engine.hunt(bot, signal)

    assert await close_requested(desk, bot) == "signal_close"
