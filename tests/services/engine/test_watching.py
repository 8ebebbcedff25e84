"""The watcher: which prices fire which triggers, and whom it tells what how often."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.contracts.bots import BotSignal
from domain.ports import VenueUnavailable
from models.trading import Position
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY

pytestmark = pytest.mark.integration


@pytest.fixture
async def watched(alone: Engine) -> tuple[Engine, RunningBot, Position]:
    """A long entered at 100 (stop 97, targets 103, 106, 109) that the watcher has seen."""
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    await alone.watching.look(KEY)
    alone.workflows.told.clear()
    return alone, bot, position


async def fired(engine: Engine, position: Position) -> set[str]:
    triggers = await engine.triggers(position)
    return {leg for leg, trigger in triggers.items() if trigger.state == "fired"}


async def test_prices_between_stop_and_target_fire_nothing(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    engine.venue.market.add_minute("BTC-USD", low="97.01", high="102.99")

    await engine.watching.look(KEY)

    assert await fired(engine, position) == set()
    assert engine.workflows.woken == []


async def test_touching_the_target_is_enough_and_tells_the_bot(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, position = watched
    engine.venue.market.add_minute("BTC-USD", low="99", high="103.00")

    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"target_1"}
    assert engine.workflows.woken == [bot.bot_id]


async def test_a_candle_that_crosses_both_fires_the_stop_alone(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    engine.venue.market.add_minute("BTC-USD", low="96", high="110", close="100")

    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"stop"}


async def test_a_wick_between_two_looks_is_not_missed(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    for low in ("99", "96.9", "99"):
        engine.venue.market.add_minute("BTC-USD", low=low, high="101", close="100")

    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"stop"}


async def test_a_trigger_armed_during_a_candle_is_not_fired_by_its_earlier_prices(
    alone: Engine,
) -> None:
    bot = await alone.start_bot()
    await alone.watching.look(KEY)
    market = alone.venue.market
    market.now += timedelta(seconds=30)
    position = await alone.open_position(bot)
    market.now -= timedelta(seconds=30)
    market.add_minute("BTC-USD", low="90", high="101", close="100")

    await alone.watching.look(KEY)
    before = await fired(alone, position)
    market.add_minute("BTC-USD", low="90", high="101", close="100")
    await alone.watching.look(KEY)

    assert before == set()
    assert await fired(alone, position) == {"stop"}


async def test_a_stop_moved_during_a_candle_must_be_crossed_at_both_its_prices(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, position = watched
    market = engine.venue.market
    market.now += timedelta(seconds=30)
    await engine.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=Decimal(99), take_profit=None
    )
    market.now -= timedelta(seconds=30)
    market.add_minute("BTC-USD", low="98", high="101", close="100")

    await engine.watching.look(KEY)
    tightened = await fired(engine, position)
    market.add_minute("BTC-USD", low="98", high="101", close="100")
    await engine.watching.look(KEY)

    assert tightened == set(), "98 may have been traded before the stop was raised to 99"
    assert await fired(engine, position) == {"stop"}


async def test_looking_twice_fires_once(watched: tuple[Engine, RunningBot, Position]) -> None:
    engine, bot, position = watched
    engine.venue.market.add_minute("BTC-USD", low="96", high="100")

    await engine.watching.look(KEY)
    await engine.watching.look(KEY)

    assert engine.workflows.woken == [bot.bot_id]
    assert await fired(engine, position) == {"stop"}


async def test_the_standing_price_fires_too(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    engine.venue.market.last["BTC-USD"] = Decimal("96.5")

    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"stop"}


async def test_a_new_epoch_judges_no_candle_of_the_old_one(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    market = engine.venue.market
    market.add_minute("BTC-USD", low="90", high="101", close="100")
    market.epoch = "epoch-2"

    await engine.watching.look(KEY)

    assert await fired(engine, position) == set()
    (state,) = await engine.rows("SELECT epoch, judged_until FROM venue_states")
    assert state == {"epoch": "epoch-2", "judged_until": market.now}


async def test_a_look_that_sees_nothing_is_made_up_for_by_the_next(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, _bot, position = watched
    market = engine.venue.market
    market.add_minute("BTC-USD", low="96", high="101", close="100")
    market.down |= {"quote", "candles"}
    with pytest.raises(VenueUnavailable):
        await engine.watching.look(KEY)

    market.down.clear()
    market.add_minute("BTC-USD", low="100", high="101", close="100")
    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"stop"}


@pytest.mark.parametrize("silent", ["quote:ETH-USD", "candles:ETH-USD"])
async def test_one_silent_market_does_not_blind_the_watch_of_the_others(
    watched: tuple[Engine, RunningBot, Position], silent: str
) -> None:
    engine, bot, position = watched
    other = await engine.open_position(bot, "ETH-USD")
    market = engine.venue.market
    market.now += timedelta(minutes=1)
    await engine.watching.look(KEY)
    market.down.add(silent)
    for symbol in ("BTC-USD", "ETH-USD"):
        market.add_minute(symbol, low="96", high="101", close="100")

    await engine.watching.look(KEY)
    blinded = await fired(engine, other)
    market.down.clear()
    await engine.watching.look(KEY)

    assert await fired(engine, position) == {"stop"}
    assert blinded == (set() if silent.startswith("candles") else {"stop"})
    assert await fired(engine, other) == {"stop"}, "what was not judged then is judged later"


async def test_a_bot_that_could_not_be_told_is_told_by_the_sweeper(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, _position = watched
    await engine.sweeper.sweep()
    engine.sweeper._first = False
    engine.workflows.told.clear()
    engine.workflows.is_down = True
    engine.venue.market.add_minute("BTC-USD", low="96", high="100")
    await engine.watching.look(KEY)

    engine.workflows.is_down = False
    await engine.sweeper.sweep()

    assert engine.workflows.told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)]


async def test_a_look_and_a_bot_that_moves_its_stop_do_not_wait_for_each_other(
    watched: tuple[Engine, RunningBot, Position],
) -> None:
    engine, bot, position = watched
    market = engine.venue.market

    for price in range(60, 90):
        market.now += timedelta(minutes=1)
        market.last["BTC-USD"] = Decimal(100)
        await asyncio.gather(
            engine.watching.look(KEY),
            engine.trading.modify_position(
                bot.trader.principal, position.id, stop_loss=Decimal(price), take_profit=None
            ),
        )

    assert (await engine.triggers(position))["stop"].price == Decimal(89)
