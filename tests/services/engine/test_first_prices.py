"""What was bought a moment ago counts in equity before any watcher looked at its market."""

from __future__ import annotations

import pytest

from tests.support.engine import Engine, RunningBot, buy
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


async def _hold_bitcoin(engine: Engine, bot: RunningBot) -> None:
    bars = written_bars(engine)
    for symbol in ("BTC-USD", "ETH-USD"):
        bars.write(engine, symbol, None)
    await engine.hunt(bot, buy("BTC-USD"))
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "open"


async def test_a_second_entry_needs_no_look_at_what_the_first_one_bought(
    engine: Engine, bot: RunningBot
) -> None:
    await _hold_bitcoin(engine, bot)

    result = await engine.hunt(bot, buy("ETH-USD"))

    assert [order.symbol for order in result.orders] == ["ETH-USD"]


async def test_without_any_price_of_it_equity_is_not_guessed(
    engine: Engine, bot: RunningBot
) -> None:
    # Other tests share the venue's quotes: the last one there ever was would serve.
    await engine.execute("DELETE FROM venue_quotes WHERE symbol = 'BTC-USD'")
    await _hold_bitcoin(engine, bot)
    engine.venue.market.down.add("quote:BTC-USD")

    result = await engine.hunt(bot, buy("ETH-USD"))

    assert result.orders == ()
    (row,) = await engine.rows(
        "SELECT reason FROM decisions WHERE run_id = :run AND cause LIKE 'signal:%'"
        " AND symbol = 'ETH-USD'",
        run=bot.run_id,
    )
    assert row["reason"] == "equity_unknown"
