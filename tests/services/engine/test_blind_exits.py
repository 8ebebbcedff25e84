"""Signals that leave positions are acted on whatever keeps the market from being seen."""

from __future__ import annotations

import pytest

from domain.ports import VenueUnavailable
from domain.positions import Direction
from tests.support.engine import Engine, RunningBot, buy, close
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


async def reasons(engine: Engine, bot: RunningBot) -> dict[str, str]:
    rows = await engine.rows(
        "SELECT symbol, reason FROM decisions WHERE run_id = :run AND cause LIKE 'signal:%'",
        run=bot.run_id,
    )
    return {row["symbol"]: row["reason"] for row in rows}


async def test_a_silent_venue_keeps_no_exit_waiting(engine: Engine, bot: RunningBot) -> None:
    written_bars(engine)
    await engine.open_position(bot)
    engine.venue.market.down.add("rules")

    result = await engine.hunt(bot, close())

    assert result.exits_requested
    assert result.orders == ()
    await engine.carry_out(bot)
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_close")


async def test_an_exit_goes_out_beside_an_entry_that_waits(engine: Engine, bot: RunningBot) -> None:
    written_bars(engine).write(engine, "ETH-USD", None)
    await engine.open_position(bot)
    revision = (await engine.bot(bot)).revision
    entry = buy("ETH-USD")
    engine.venue.market.down.add("rules")

    with pytest.raises(VenueUnavailable):
        await engine.hunt(bot, entry, close())

    assert (await engine.bot(bot)).revision > revision, "the sweeper wakes it"
    await engine.carry_out(bot)
    assert (await engine.position(bot)).exit_reason == "signal_close"
    engine.venue.market.down.clear()
    result = await engine.hunt(bot, entry, close())
    assert [order.symbol for order in result.orders] == ["ETH-USD"]


async def test_a_market_without_a_price_keeps_no_exit_of_another_waiting(
    engine: Engine, bot: RunningBot
) -> None:
    written_bars(engine)
    await engine.open_position(bot)
    engine.venue.market.down.add("quote")

    with pytest.raises(VenueUnavailable):
        await engine.hunt(bot, buy("ETH-USD"), close())

    await engine.carry_out(bot)
    assert (await engine.position(bot)).exit_reason == "signal_close"


async def test_what_an_exit_has_overtaken_does_not_enter_after_it(
    engine: Engine, bot: RunningBot
) -> None:
    bars = written_bars(engine)
    bars.write(engine, "BTC-USD", None)
    await engine.open_position(bot)
    entry = buy("BTC-USD")
    engine.venue.market.down.add("rules")

    result = await engine.hunt(bot, entry, close())

    assert result.exits_requested
    assert result.orders == ()
    await engine.carry_out(bot)
    engine.venue.market.down.clear()
    assert (await engine.hunt(bot, entry)).orders == ()
    (count,) = await engine.rows(
        "SELECT count(*) AS refused FROM decisions WHERE run_id = :run AND reason = 'overtaken'",
        run=bot.run_id,
    )
    assert count["refused"] == 1


async def test_refused_keys_keep_no_exit_from_being_asked_for(
    engine: Engine, bot: RunningBot
) -> None:
    written_bars(engine)
    await engine.open_position(bot)
    engine.account(bot).refuses_keys = True

    result = await engine.hunt(bot, close(), buy("ETH-USD"))

    assert result.exits_requested
    assert result.orders == ()
    assert await reasons(engine, bot) == {"BTC-USD": "signal_close", "ETH-USD": "keys_refused"}


async def test_a_market_that_is_listed_no_more_can_be_left(engine: Engine, bot: RunningBot) -> None:
    written_bars(engine).write(engine, "BTC-USD", Direction.LONG)
    await engine.open_position(bot)
    engine.venue.market.rules_by_symbol.pop("BTC-USD")

    result = await engine.hunt(bot, close())

    assert result.exits_requested
    assert result.orders == ()
