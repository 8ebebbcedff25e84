"""A market that is suspended, delisted or renamed while a position in it is open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from domain.markets import MarketStatus, Mode
from models.people import User
from services.markets.halted import HaltedMarkets
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import KEY
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


async def _halt(engine: Engine, symbol: str) -> None:
    rules = engine.venue.market.rules_by_symbol
    rules[symbol] = replace(rules[symbol], active=False, status=MarketStatus.HALTED)
    engine.wire()  # a watcher that has just begun notes what the list says at its first look
    await engine.watching.look(KEY)


async def _notices(engine: Engine) -> list[str]:
    rows = await engine.rows("SELECT facts FROM notices WHERE kind = 'market_halted'")
    return [row["facts"]["symbol"] for row in rows]


async def _holding_bitcoin(engine: Engine, mode: Mode) -> RunningBot:
    bot = await engine.start_bot(mode=mode)
    bars = written_bars(engine)
    for symbol in ("BTC-USD", "ETH-USD"):
        bars.write(engine, symbol, None)
    await engine.hunt(bot, buy("BTC-USD"))
    await engine.carry_out(bot)
    await engine.watching.look(KEY)
    return bot


@pytest.mark.parametrize("mode", Mode)
async def test_the_holder_of_a_position_is_told_once(alone: Engine, mode: Mode) -> None:
    await _holding_bitcoin(alone, mode)
    halted = HaltedMarkets(alone.database, alone.wall)
    assert await halted.sweep() == 0
    await _halt(alone, "BTC-USD")
    await _halt(alone, "ETH-USD")  # traded, but held by nobody

    assert [await halted.sweep() for _ in range(3)] == [1, 0, 0]

    assert await _notices(alone) == ["BTC-USD"]


async def test_a_holder_who_cannot_be_told_keeps_no_other_from_it(alone: Engine) -> None:
    bots = [await _holding_bitcoin(alone, Mode.LIVE) for _ in range(3)]
    halted = HaltedMarkets(alone.database, alone.wall)
    await _halt(alone, "BTC-USD")
    locked = bots[1].trader.user_id
    async with alone.database.as_system() as session:
        await session.exec(select(User).where(User.id == locked).with_for_update())
        await halted.sweep()
    first = await _notices(alone)

    await halted.sweep()

    assert (len(first), len(await _notices(alone))) == (2, 3)


@pytest.mark.parametrize("mode", Mode)
async def test_everything_else_goes_on(alone: Engine, mode: Mode) -> None:
    bot = await _holding_bitcoin(alone, mode)
    await _halt(alone, "BTC-USD")
    alone.venue.market.now += timedelta(minutes=20)
    alone.wall.advance(20 * 60)
    await alone.watching.look(KEY)  # its ticker goes on telling the last price
    written_bars(alone).write(alone, "ETH-USD", None)

    result = await alone.hunt(bot, buy("ETH-USD"))

    assert [order.symbol for order in result.orders] == ["ETH-USD"]
    await alone.hunt(bot)
    (snapshot,) = await alone.rows(
        "SELECT equity, is_lower_bound, unrealized_pnl FROM equity_snapshots"
        " WHERE account_id = :id ORDER BY at DESC LIMIT 1",
        id=bot.trader.account_id,
    )
    assert snapshot["is_lower_bound"]
    assert 0 < snapshot["equity"] < 10_000
    assert snapshot["unrealized_pnl"] is None
