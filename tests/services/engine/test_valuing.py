"""What an account is worth when part of what it holds has no price, and what that leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain.markets import Mode
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import KEY
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration

PRICED = ("BTC-USD", "ETH-USD")


async def _bot_holding(alone: Engine, **held: str) -> RunningBot:
    balances = {"USD": Decimal(10_000), **{name: Decimal(total) for name, total in held.items()}}
    bot = await alone.start_bot(mode=Mode.LIVE, balances=balances, pairs=PRICED)
    bars = written_bars(alone)
    for symbol in PRICED:
        bars.write(alone, symbol, None)
    return bot


async def _snapshot(alone: Engine, bot: RunningBot) -> Mapping[str, Any]:
    (row,) = await alone.rows(
        "SELECT cash, equity, is_lower_bound FROM equity_snapshots"
        " WHERE account_id = :account ORDER BY at DESC LIMIT 1",
        account=bot.trader.account_id,
    )
    return row


@pytest.mark.parametrize("dust", ["SHIBX", "STAKED", "EUR"])
async def test_what_has_no_price_does_not_block_an_entry(alone: Engine, dust: str) -> None:
    bot = await _bot_holding(alone, **{dust: "0.00000017"})

    result = await alone.hunt(bot, buy("ETH-USD"))

    assert [order.symbol for order in result.orders] == ["ETH-USD"]


async def test_a_quiet_bar_notes_the_lower_bound_of_equity(alone: Engine) -> None:
    bot = await _bot_holding(alone, SHIBX="17", USDC="250")

    await alone.hunt(bot)

    row = await _snapshot(alone, bot)
    assert (row["cash"], row["equity"], row["is_lower_bound"]) == (10_000, 10_250, True)


async def test_a_price_that_its_venue_left_behind_is_none(alone: Engine) -> None:
    bot = await _bot_holding(alone, BTC="2")
    await alone.watching.look(KEY)
    await alone.hunt(bot)
    before = await _snapshot(alone, bot)
    assert (before["equity"], before["is_lower_bound"]) == (10_200, False)

    alone.venue.market.down.add("quote:BTC-USD")
    alone.venue.market.now += timedelta(minutes=20)
    written_bars(alone).write(alone, "ETH-USD", None)
    await alone.watching.look(KEY)
    await alone.hunt(bot)

    row = await _snapshot(alone, bot)
    assert (row["equity"], row["is_lower_bound"]) == (10_000, True)


async def test_only_the_bots_own_position_without_a_price_makes_its_figures_unknown(
    alone: Engine,
) -> None:
    bot = await _bot_holding(alone)
    await alone.hunt(bot, buy("BTC-USD"))
    await alone.carry_out(bot)
    alone.venue.market.down.add("quote:BTC-USD")

    result = await alone.hunt(bot, buy("ETH-USD"))

    assert result.orders == ()
    assert await _reason(alone, bot.run_id) == "equity_unknown"


async def test_an_old_price_of_the_bots_own_position_serves_its_limits(alone: Engine) -> None:
    """A delisted market answers no more; the bot's other markets go on."""
    bot = await _bot_holding(alone)
    await alone.hunt(bot, buy("BTC-USD"))
    await alone.carry_out(bot)
    await alone.watching.look(KEY)
    alone.venue.market.down.add("quote:BTC-USD")
    alone.venue.market.now += timedelta(minutes=20)
    written_bars(alone).write(alone, "ETH-USD", None)
    await alone.watching.look(KEY)

    result = await alone.hunt(bot, buy("ETH-USD"))

    assert [order.symbol for order in result.orders] == ["ETH-USD"]


async def _reason(alone: Engine, run_id: UUID) -> str:
    (row,) = await alone.rows(
        "SELECT reason FROM decisions WHERE run_id = :run AND symbol = 'ETH-USD'"
        " AND cause LIKE 'signal:%'",
        run=run_id,
    )
    return str(row["reason"])
