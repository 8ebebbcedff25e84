"""A part that fails never fails the whole: each market, signal and position is judged by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from domain.markets import FeeRates, MarketRules, Quote
from domain.ports import VenueUnavailable
from domain.positions import Direction
from domain.strategies.apex import BAR
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import FakeAccount, FakeMarket
from tests.support.locks import locked_position
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration

SECONDS_MAX = 12.0


class HangingMarket(FakeMarket):
    """Some questions never get an answer."""

    hangs: frozenset[str] = frozenset()

    async def quote(self, symbol: str) -> Quote:
        await self._hang(f"quote:{symbol}")
        return await super().quote(symbol)

    async def rules(self) -> Mapping[str, MarketRules]:
        await self._hang("rules")
        return await super().rules()

    async def _hang(self, question: str) -> None:
        if question in self.hangs:
            await asyncio.sleep(3600)


class HangingFees(FakeAccount):
    """Its fee table never comes."""

    async def fees(self) -> FeeRates:
        await asyncio.sleep(3600)
        raise AssertionError


class HangingBars(WrittenEvaluations):
    """Bars of some markets never come."""

    hangs: frozenset[str] = frozenset()

    async def since(self, key: Any, clock: Any, symbol: str, last_opened_at: Any) -> Any:
        if symbol in self.hangs:
            await asyncio.sleep(3600)
        if symbol in self.down:
            raise VenueUnavailable("no candles")
        return await super().since(key, clock, symbol, last_opened_at)

    down: frozenset[str] = frozenset()


@pytest.fixture
def bars(engine: Engine) -> HangingBars:
    market = HangingMarket(("BTC-USD", "ETH-USD", "LTC-USD"))
    engine.venue.market = market
    written = written_bars(engine)
    hanging = HangingBars(engine)
    hanging.written = written.written
    engine.signals._evaluations = hanging
    engine.hunt_service._evaluations = hanging
    return hanging


def market_of(engine: Engine) -> HangingMarket:
    assert isinstance(engine.venue.market, HangingMarket)
    return engine.venue.market


async def reasons(engine: Engine, bot: RunningBot) -> dict[str, str]:
    rows = await engine.rows(
        "SELECT symbol, reason FROM decisions WHERE run_id = :run ORDER BY decided_at",
        run=bot.run_id,
    )
    return {row["symbol"]: row["reason"] for row in rows}


async def in_time(hunt: Any) -> Any:
    return await asyncio.wait_for(hunt, SECONDS_MAX)


@pytest.mark.parametrize("how", ["delisted", "silent", "hanging"])
async def test_one_market_delays_no_signal_of_another(
    engine: Engine, bars: HangingBars, how: str
) -> None:
    bars.write(engine, "BTC-USD", None)
    bars.write(engine, "ETH-USD", None)
    bot = await engine.start_bot()
    market = market_of(engine)
    if how == "delisted":
        del market.rules_by_symbol["BTC-USD"]
    elif how == "silent":
        market.down.add("quote:BTC-USD")
    else:
        market.hangs = frozenset({"quote:BTC-USD"})
    odd, good = buy("BTC-USD"), buy("ETH-USD")

    hunt = engine.hunt(bot, odd, good)
    if how == "delisted":
        await in_time(hunt)
    else:
        with pytest.raises(VenueUnavailable):  # it is in nobody's rows, so it is tried again
            await in_time(hunt)

    assert (await engine.position(bot, "ETH-USD")).id == good.signal_id
    rows = await engine.rows(
        "SELECT reason FROM decisions WHERE run_id = :run AND cause = :cause",
        run=bot.run_id,
        cause=f"signal:{odd.signal_id}",
    )
    expected = ["unknown_symbol"] if how == "delisted" else []
    assert [row["reason"] for row in rows] == expected


async def test_one_market_without_candles_keeps_no_bar_of_another_from_being_decided(
    engine: Engine, bars: HangingBars
) -> None:
    bot = await engine.start_bot()
    bars.write(engine, "ETH-USD", Direction.LONG)
    bars.hangs, bars.down = frozenset({"BTC-USD"}), frozenset({"LTC-USD"})

    result = await in_time(engine.hunt(bot))

    assert [order.symbol for order in result.orders] == ["ETH-USD"]
    error = (await engine.bot(bot)).last_error or ""
    assert "Market data unavailable: BTC-USD: candles: no answer" in error
    assert "Market data unavailable: LTC-USD: no candles" in error


@pytest.mark.parametrize("what", ["fees", "rules", "hanging fees", "hanging rules", "keys"])
async def test_trailing_and_reversal_need_neither_fees_nor_rules(
    engine: Engine, bars: HangingBars, what: str
) -> None:
    bot = await engine.start_bot()
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    _break(engine, bot, what)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", None, close=Decimal(112))
    bars.write(engine, "ETH-USD", Direction.LONG)

    result = await in_time(engine.hunt(bot))

    assert (await engine.triggers(position))["stop"].price == Decimal(109)
    assert result.orders == ()
    missing = "rules" if "rules" in what else "fees"
    expected = "keys_refused" if what == "keys" else f"{missing}_unavailable"
    assert (await reasons(engine, bot))["ETH-USD"] == expected
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    assert (await in_time(engine.hunt(bot))).exits_requested
    assert (await engine.position(bot)).close_requested == "signal_reversal"


async def test_a_position_that_is_locked_keeps_no_stop_of_another_waiting(
    engine: Engine, bars: HangingBars
) -> None:
    bot = await engine.start_bot()
    locked = await engine.open_position(bot, "ETH-USD")
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    engine.venue.market.now += BAR.length
    for symbol in ("BTC-USD", "ETH-USD"):
        bars.write(engine, symbol, None, close=Decimal(112))

    async with locked_position(engine.database, locked):
        hunt = asyncio.create_task(engine.hunt(bot))
        async with asyncio.timeout(4):  # the locked one is waited for for 5 s
            stop = (await engine.triggers(position))["stop"]
            for _ in range(100):
                if stop.price == Decimal(109):
                    break
                await asyncio.sleep(0.05)
                stop = (await engine.triggers(position))["stop"]
    assert stop.price == Decimal(109)
    await hunt


def _break(engine: Engine, bot: RunningBot, what: str) -> None:
    account = engine.account(bot)
    match what:
        case "fees":
            account.is_down = True
        case "keys":
            account.refuses_keys = True
        case "rules":
            engine.venue.market.down.add("rules")
        case "hanging rules":
            market_of(engine).hangs = frozenset({"rules"})
        case _:
            hanging = HangingFees(account.market, account.crash, account.totals)
            engine.venue.accounts[bot.trader.account_id] = hanging


async def test_a_position_whose_row_cannot_be_read_keeps_no_other_from_being_protected(
    engine: Engine, bars: HangingBars
) -> None:
    bot = await engine.start_bot()
    broken = await engine.open_position(bot, "BTC-USD")
    position = await engine.open_position(bot, "ETH-USD")
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    await engine.execute(
        "UPDATE positions SET exit_plan = '{\"odd\": 1}' WHERE id = :id", id=broken.id
    )
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", None, close=Decimal(112))
    bars.write(engine, "ETH-USD", None, close=Decimal(112))

    await in_time(engine.hunt(bot))

    assert (await engine.triggers(position))["stop"].price == Decimal(109)


async def test_a_reversal_of_an_old_bar_that_the_newest_does_not_confirm_leaves_nothing(
    engine: Engine, bars: HangingBars
) -> None:
    bot = await engine.start_bot()
    await engine.open_position(bot)
    bars.write(engine, "BTC-USD", None)
    await engine.hunt(bot)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", None)

    await in_time(engine.hunt(bot))

    assert (await engine.position(bot)).close_requested is None


async def test_trailing_needs_no_answer_of_the_clock(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    await engine.fire(await engine.open_position(bot), "target_1")
    await engine.carry_out(bot)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", None, close=Decimal(112))
    bars.write(engine, "ETH-USD", Direction.LONG)
    engine.venue.market.down.add("clock")

    await engine.hunt(bot)

    triggers = await engine.triggers(await engine.position(bot))
    assert triggers["stop"].price == Decimal(109)
    assert "clock gets no answer" in ((await engine.bot(bot)).last_error or "")
    assert await reasons(engine, bot) == {}
    engine.venue.market.down.clear()
    await engine.hunt(bot)
    assert (await reasons(engine, bot))["ETH-USD"] == "setup", "it was not lost"
