"""What a venue's list says of a market is stored once it changes, with the age of the list."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.markets import MarketStatus
from domain.positions import Direction
from domain.strategies.apex import BAR
from services.markets.ages import state_of_lists
from tests.support.engine import Engine
from tests.support.fake_venue import KEY
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


async def look(engine: Engine) -> None:
    engine.watching._listings.clear()  # as if half a minute had passed
    await engine.watching.look(KEY)


async def states(engine: Engine) -> dict[str, dict[str, Any]]:
    return {row["symbol"]: dict(row) for row in await engine.rows("SELECT * FROM market_states")}


async def test_a_market_that_leaves_the_list_is_marked_once(alone: Engine) -> None:
    await alone.start_bot()
    market = alone.venue.market
    await look(alone)
    before = await states(alone)
    rules = market.rules_by_symbol["BTC-USD"]
    market.rules_by_symbol["BTC-USD"] = replace(
        rules, status=MarketStatus.HALTED, active=False, is_unlisted=True
    )
    alone.wall.advance(60)
    gone_at = alone.wall.now()
    await look(alone)
    alone.wall.advance(60)
    await look(alone)

    assert {it["status"] for it in before.values()} == {"open"}
    gone = (await states(alone))["BTC-USD"]
    assert (gone["status"], gone["since"]) == ("halted", gone_at)
    assert "no more" in gone["reason"]
    assert (await states(alone))["ETH-USD"]["status"] == "open"


async def test_a_pair_that_the_venue_never_listed_is_marked(alone: Engine) -> None:
    await alone.start_bot(pairs=("BTC-USD", "GONE-USD"))

    await look(alone)

    assert (await states(alone))["GONE-USD"]["status"] == "halted"


async def test_the_age_of_the_list_is_seen(alone: Engine) -> None:
    await alone.start_bot()
    await look(alone)
    fresh = await state_of_lists(alone.database, alone.wall.now())
    alone.venue.market.rules_age = timedelta(hours=7).total_seconds()
    alone.venue.market.malformed = {"ETH-USD": "no usable field"}
    await look(alone)

    assert fresh == "ok"
    assert await state_of_lists(alone.database, alone.wall.now()) == (
        "coinbase: the list of markets is 7 hours old; coinbase: 1 markets cannot be read"
    )


async def test_only_the_newest_bar_closes_a_position(engine: Engine) -> None:
    bot = await engine.start_bot()
    bars = written_bars(engine)
    bars.write(engine, "BTC-USD", None)
    await engine.hunt(bot)
    position = await engine.open_position(bot)
    market = engine.venue.market
    await engine.execute("UPDATE positions SET source = 'strategy'")
    market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    market.now += 2 * BAR.length
    bars.write(engine, "BTC-USD", None)

    await engine.hunt(bot)
    held = await engine.position(bot)
    market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    await engine.hunt(bot)

    assert held.close_requested is None, "that bar closed three bars ago"
    assert (await engine.position(bot)).close_requested == "signal_reversal"
    assert held.id == position.id


async def test_prices_of_a_billionth_are_exact_from_the_quote_to_the_trigger(alone: Engine) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    tiny = Decimal("0.000000001234567890123456789")
    await alone.execute(
        "UPDATE triggers SET price = CAST(:price AS numeric) WHERE leg = 'stop'", price=tiny
    )
    await alone.execute("UPDATE triggers SET state = 'cancelled' WHERE leg <> 'stop'")
    market = alone.venue.market
    market.last["BTC-USD"] = tiny + Decimal("1e-27")
    await alone.watching.look(KEY)
    above = (await alone.triggers(position))["stop"].state
    market.last["BTC-USD"] = tiny
    await alone.watching.look(KEY)

    stop = (await alone.triggers(position))["stop"]
    assert (above, stop.state, stop.fired_price) == ("armed", "fired", tiny)
    (quote,) = await alone.rows("SELECT last FROM venue_quotes WHERE symbol = 'BTC-USD'")
    assert quote["last"] == tiny
