"""What the strategy may do with a position depends on who opened it; what a market allows, too."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from domain.positions import Direction
from domain.strategies.apex import BAR
from tests.support.engine import Engine, RunningBot
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration


@pytest.fixture
def bars(engine: Engine) -> WrittenEvaluations:
    return written_bars(engine)


async def decisions(engine: Engine, bot: RunningBot) -> list[tuple[str, str, str]]:
    rows = await engine.rows(
        "SELECT symbol, action, reason FROM decisions WHERE run_id = :run"
        " ORDER BY decided_at, bar_at, symbol",
        run=bot.run_id,
    )
    return [(row["symbol"], row["action"], row["reason"]) for row in rows]


async def _held_by_a_signal_then_called_off(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    position = await engine.open_position(bot)
    await engine.execute("UPDATE positions SET source = 'signal' WHERE id = :id", id=position.id)
    engine.venue.market.now += BAR.length
    bars.write(engine, "BTC-USD", Direction.SHORT)
    await engine.hunt(bot)
    await engine.carry_out(bot)


async def test_the_strategy_leaves_what_a_signal_opened_alone(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    await _held_by_a_signal_then_called_off(engine, bot, bars)

    assert (await engine.position(bot)).state == "open"
    assert (await decisions(engine, bot))[-1] == ("BTC-USD", "hold", "position_exists")


async def test_the_strategy_may_close_what_a_signal_opened_where_its_user_says_so(
    engine: Engine, bars: WrittenEvaluations
) -> None:
    bot = await engine.start_bot(settings={"strategy_may_close_signals": True})

    await _held_by_a_signal_then_called_off(engine, bot, bars)

    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_reversal")


async def test_an_entry_that_the_markets_maximum_allows_less_of_is_smaller(
    engine: Engine, bot: RunningBot, bars: WrittenEvaluations
) -> None:
    market = engine.venue.market
    market.rules_by_symbol["BTC-USD"] = replace(
        market.rules_by_symbol["BTC-USD"], quantity_max=Decimal("0.5")
    )
    market.rules_by_symbol["ETH-USD"] = replace(
        market.rules_by_symbol["ETH-USD"], notional_max=Decimal(70)
    )
    bars.write(engine, "BTC-USD", Direction.LONG)
    bars.write(engine, "ETH-USD", Direction.LONG)

    result = await engine.hunt(bot)

    orders = {task.symbol: await engine.order(task.order_id) for task in result.orders}
    assert orders["BTC-USD"].quantity == Decimal("0.5")
    assert orders["ETH-USD"].quantity * Decimal("100.20") <= Decimal(70)
