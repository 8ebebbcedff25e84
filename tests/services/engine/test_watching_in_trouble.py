"""The price watch needs a price and nothing else, and judges nothing old as if it were now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from domain.markets import Candle, Timeframe
from models.trading import Position, Trigger
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY, FakeMarket

pytestmark = pytest.mark.integration
LOOK_SECONDS = 3.0


@pytest.fixture
async def held(alone: Engine) -> AsyncIterator[tuple[Engine, RunningBot, Position]]:
    """A long entered at 100 (stop 97, targets 103, 106, 109) that the watch has seen."""
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    await look(alone)
    alone.workflows.told.clear()
    yield alone, bot, position
    await alone.watching.close()


async def look(engine: Engine) -> None:
    async with asyncio.timeout(LOOK_SECONDS):
        await engine.watching.look(KEY)


async def fired(engine: Engine, position: Position) -> set[str]:
    triggers = await engine.triggers(position)
    return {leg for leg, trigger in triggers.items() if trigger.state == "fired"}


ALL_BUT_QUOTES = ["clock", "rules", "candles"]


@pytest.mark.parametrize("how", ["down", "hanging"])
@pytest.mark.parametrize("which", [*([one] for one in ALL_BUT_QUOTES), ALL_BUT_QUOTES])
async def test_a_stop_fires_whatever_but_the_price_fails(
    held: tuple[Engine, RunningBot, Position], how: str, which: list[str]
) -> None:
    engine, bot, position = held
    market = engine.venue.market
    getattr(market, how).update(which)
    engine.wall.advance(1)
    market.now += timedelta(seconds=1)
    market.last["BTC-USD"] = Decimal("96.9")

    await look(engine)

    assert await fired(engine, position) == {"stop"}
    assert engine.workflows.woken == [bot.bot_id]


async def test_a_market_that_is_no_longer_listed_is_watched_while_a_trigger_waits(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    engine.venue.market.rules_by_symbol.pop("BTC-USD")
    engine.venue.market.last["BTC-USD"] = Decimal("96.9")

    await look(engine)

    assert await fired(engine, position) == {"stop"}


async def test_without_quotes_the_candles_are_judged(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    engine.venue.market.add_minute("BTC-USD", low="96", high="101", close="100")
    engine.venue.market.down.add("quote")

    await look(engine)

    assert await fired(engine, position) == {"stop"}


async def test_without_a_clock_the_venues_time_goes_on_by_the_wall(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, _position = held
    seen = engine.venue.market.now
    engine.venue.market.down.add("clock")
    engine.venue.market.has_seen_clock = False
    engine.wall.advance(90)

    await look(engine)

    (state,) = await engine.rows("SELECT clock_at, last_error FROM venue_states")
    assert state["clock_at"] == seen + timedelta(seconds=90)
    assert "clock" in state["last_error"]


@pytest.mark.parametrize("how", ["down", "hanging"])
async def test_a_delisted_pair_in_somebodys_settings_costs_its_market_only(
    held: tuple[Engine, RunningBot, Position], how: str
) -> None:
    engine, _bot, position = held
    await engine.start_bot(pairs=("BTC-USD", "GONE-USD"))
    getattr(engine.venue.market, how).add("quote:GONE-USD")
    engine.venue.market.last["BTC-USD"] = Decimal("96.9")

    await look(engine)

    assert await fired(engine, position) == {"stop"}


async def test_a_candle_that_is_listed_late_fires_what_was_armed_in_its_minute(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    market.add_minute("BTC-USD", low="96", high="101", close="100")
    late = market.minutes["BTC-USD"].pop()
    engine.wall.advance(60)
    await look(engine)
    before = await fired(engine, position)

    market.minutes["BTC-USD"].append(late)
    market.add_minute("BTC-USD", low="99", high="101", close="100")
    engine.wall.advance(60)
    await look(engine)

    assert before == set()
    assert await fired(engine, position) == {"stop"}


async def test_a_candle_that_is_revised_is_judged_again(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    market.add_minute("BTC-USD", low="99", high="101", close="100")
    await look(engine)
    before = await fired(engine, position)

    market.minutes["BTC-USD"][-1] = revised(market.minutes["BTC-USD"][-1], low="96.5")
    market.add_minute("BTC-USD", low="99", high="101", close="100")
    await look(engine)

    assert before == set()
    assert await fired(engine, position) == {"stop"}


def revised(candle: Candle, *, low: str) -> Candle:
    return Candle(
        candle.opened_at, candle.open, candle.high, Decimal(low), candle.close, candle.volume
    )


async def test_judging_candles_again_fires_no_stop_that_moved_behind_them(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, position = held
    market = engine.venue.market
    market.add_minute("BTC-USD", low="98", high="101", close="100")
    await look(engine)
    await engine.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=Decimal(99), take_profit=None
    )
    market.add_minute("BTC-USD", low="99.5", high="101", close="100")

    await look(engine)

    assert await fired(engine, position) == set(), "98 was traded while the stop was at 97"


async def test_a_stop_that_moved_twice_within_a_candle_is_judged_at_each_price(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, position = held
    market = engine.venue.market
    opened = market.now
    for second, stop in ((20, 95), (40, 98)):
        market.now = opened + timedelta(seconds=second)
        await engine.trading.modify_position(
            bot.trader.principal, position.id, stop_loss=Decimal(stop), take_profit=None
        )
    market.now = opened
    market.add_minute("BTC-USD", low="96", high="101", close="100")

    await look(engine)
    first = await fired(engine, position)
    market.add_minute("BTC-USD", low="98", high="101", close="100")
    await look(engine)

    assert first == set(), "96 may have been traded while the stop was at 95"
    assert await fired(engine, position) == {"stop"}


async def test_a_wick_from_while_the_watch_was_away_needs_the_newest_price(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    market.add_minute("BTC-USD", low="90", high="101", close="100")
    for _ in range(10):
        market.add_minute("BTC-USD", low="99", high="101", close="100")
    engine.wall.advance(11 * 60)

    await look(engine)
    recovered = await fired(engine, position)
    market.last["BTC-USD"] = Decimal("96.9")
    await look(engine)

    assert recovered == set()
    assert await fired(engine, position) == {"stop"}


async def test_a_wick_of_the_last_minutes_fires_after_the_watch_was_away(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    for low in (*["99"] * 9, "96", "99"):
        market.add_minute("BTC-USD", low=low, high="101", close="100")
    engine.wall.advance(11 * 60)

    await look(engine)

    assert await fired(engine, position) == {"stop"}


async def test_a_quote_from_before_the_position_does_not_stop_it_out(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    market.quoted_at = market.now - timedelta(seconds=1)
    market.last["BTC-USD"] = Decimal(90)

    await look(engine)
    stale = await fired(engine, position)
    market.quoted_at = None
    await look(engine)

    assert stale == set()
    assert await fired(engine, position) == {"stop"}


async def test_a_stop_holds_while_the_venues_clock_is_behind_its_own_fill(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    market.now -= timedelta(hours=1)
    market.last["BTC-USD"] = Decimal("96.9")

    await look(engine)

    assert await fired(engine, position) == {"stop"}


async def test_a_bot_that_holds_its_trigger_keeps_no_other_from_being_judged(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    other = await engine.start_bot()
    theirs = await engine.open_position(other)
    engine.venue.market.last["BTC-USD"] = Decimal("96.9")
    async with engine.database.as_system() as session:
        row = select(Trigger).where(Trigger.position_id == position.id)
        assert (await session.exec(row.with_for_update())).all()
        await look(engine)
        seen = await fired(engine, theirs)
    await look(engine)

    assert seen == {"stop"}
    assert await fired(engine, position) == {"stop"}


async def test_how_far_prices_are_judged_waits_for_candles_on_their_way(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    market = engine.venue.market
    before = market.now
    market.hanging.add("candles")
    market.add_minute("BTC-USD", low="96", high="101", close="100")
    await look(engine)
    (late,) = await engine.rows("SELECT judged_until FROM venue_states")

    market.hanging.clear()
    market.released.set()
    await look(engine)

    assert late["judged_until"] == before
    (state,) = await engine.rows("SELECT judged_until FROM venue_states")
    assert state["judged_until"] == market.now
    assert await fired(engine, position) == {"stop"}


async def test_candles_of_a_look_that_could_not_commit_are_judged_by_the_next(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    engine.wall.advance(60)
    engine.venue.market.add_minute("BTC-USD", low="96", high="100", close="100")
    async with engine.database.as_system() as session:
        connection = await session.connection()
        await connection.execute(text("LOCK TABLE triggers IN EXCLUSIVE MODE"))
        with pytest.raises(OperationalError):
            await look(engine)

    await look_within_the_minute(engine)

    assert await fired(engine, position) == {"stop"}


async def test_a_trigger_that_was_locked_is_judged_by_the_same_candle_once_it_is_free(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    engine.wall.advance(60)
    engine.venue.market.add_minute("BTC-USD", low="96", high="100", close="100")
    async with engine.database.as_system() as session:
        row = select(Trigger).where(Trigger.position_id == position.id)
        assert (await session.exec(row.with_for_update())).all()
        await look(engine)
    before = await fired(engine, position)

    await look_within_the_minute(engine)

    assert before == set()
    assert await fired(engine, position) == {"stop"}


async def look_within_the_minute(engine: Engine) -> None:
    for _ in range(3):
        engine.wall.advance(1)
        engine.venue.market.now += timedelta(seconds=1)
        await look(engine)


async def test_a_stop_that_is_locked_lets_no_target_of_the_same_candle_fire(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    engine.venue.market.add_minute("BTC-USD", low="96", high="104", close="100")
    async with engine.database.as_system() as session:
        row = select(Trigger).where(Trigger.position_id == position.id, Trigger.leg == "stop")
        assert (await session.exec(row.with_for_update())).all()
        await look(engine)
        before = await fired(engine, position)
    await look(engine)

    assert before == set()
    assert await fired(engine, position) == {"stop"}


async def test_a_trigger_that_cannot_be_read_costs_itself_only(
    held: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = held
    other = await engine.open_position(await engine.start_bot())
    await engine.execute(
        """UPDATE triggers SET past_prices = '[{"price": "0", "until": "never"}]'"""
        " WHERE position_id = :id AND leg = 'stop'",
        id=other.id,
    )
    engine.venue.market.last["BTC-USD"] = Decimal("96.9")

    await look(engine)

    assert await fired(engine, position) == {"stop"}
    assert await fired(engine, other) == set()


async def test_a_market_whose_candles_fail_in_an_unknown_way_costs_its_candles_only(
    held: tuple[Engine, RunningBot, Position], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, bot, position = held
    await engine.open_position(bot, "ETH-USD")
    ask = FakeMarket.candles

    async def candles(
        self: FakeMarket, symbol: str, timeframe: Timeframe, *, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        if symbol == "ETH-USD":
            raise KeyError(symbol)
        return await ask(self, symbol, timeframe, since=since, until=until)

    monkeypatch.setattr(FakeMarket, "candles", candles)
    engine.venue.market.add_minute("BTC-USD", low="96", high="101", close="100")

    await look(engine)

    assert await fired(engine, position) == {"stop"}
