"""Bars that a position was not managed on when they were new are judged again, for it alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.positions import Direction
from domain.strategies.apex import BAR
from tests.support.engine import Engine, RunningBot
from tests.support.locks import locked_position
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(engine: Engine) -> RunningBot:
    return await engine.start_bot()


@pytest.mark.parametrize("what", ["reversal", "trailing"])
async def test_a_bar_manages_a_position_that_was_locked_for_longer_than_it_is_waited_for(
    engine: Engine, bot: RunningBot, what: str
) -> None:
    """The bar counts as handled though the position was not managed on it: its reversal, or the
    step of its trailing stop, never comes. A frozen process keeps a row for 15 s."""
    bars = written_bars(engine)
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    engine.venue.market.now += BAR.length
    if what == "reversal":
        bars.write(engine, "BTC-USD", Direction.SHORT)
    else:
        bars.write(engine, "BTC-USD", None, close=Decimal(112))

    async with locked_position(engine.database, position):
        await engine.hunt(bot)
    await engine.hunt(bot)  # the next look, some seconds later: the bar is still the newest

    if what == "reversal":
        assert (await engine.position(bot)).close_requested == "signal_reversal"
    else:
        assert (await engine.triggers(position))["stop"].price == Decimal(109)


async def test_a_missed_bar_is_judged_for_no_position_that_was_opened_since(
    engine: Engine, bot: RunningBot
) -> None:
    """The one that was locked has left; what was bought then knows nothing of that bar."""
    bars = written_bars(engine)
    position = await engine.open_position(bot)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    async with locked_position(engine.database, position):
        await engine.hunt(bot)
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    later = await engine.open_position(bot)

    await engine.hunt(bot)

    assert later.id != position.id
    assert (await engine.position(bot)).close_requested is None
    assert (await engine.run(bot)).missed_bars == []


async def test_a_missed_reversal_closes_nothing_once_a_newer_bar_has_closed(
    engine: Engine, bot: RunningBot
) -> None:
    bars = written_bars(engine)
    position = await engine.open_position(bot)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    async with locked_position(engine.database, position):
        looked = await engine.hunt(bot)
    assert looked.more, "it is looked at again at once"
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", None)

    await engine.hunt(bot)

    assert (await engine.position(bot)).close_requested is None
    assert (await engine.run(bot)).missed_bars == []
