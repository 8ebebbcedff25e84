"""What came or went is worth what it cost when it was first seen, in whatever currency it came."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.markets import Mode
from domain.valuation import PRICE_AGE_MAX
from services.orders.flow_worth import FlowWorth
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    """It trades bitcoin only, so nobody asks for the price of anything else."""
    bot = await alone.start_bot(mode=Mode.LIVE, pairs=("BTC-USD",))
    await alone.watching.look(KEY)
    return bot


async def reconcile(engine: Engine, bot: RunningBot) -> None:
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)


async def flows(engine: Engine, bot: RunningBot) -> list[tuple[str, Decimal | None, str]]:
    rows = await engine.rows(
        "SELECT currency, value, kind FROM flows WHERE account_id = :id ORDER BY currency",
        id=bot.trader.account_id,
    )
    return [(row["currency"], row["value"], row["kind"]) for row in rows]


async def test_a_coin_that_nobody_watched_counts_at_its_price_then(
    alone: Engine, bot: RunningBot
) -> None:
    alone.account(bot).deposit("ETH", "2")

    await reconcile(alone, bot)
    alone.venue.market.last["ETH-USD"] = Decimal(500)
    await alone.watching.look(KEY)
    await reconcile(alone, bot)

    assert await flows(alone, bot) == [("ETH", Decimal(200), "external")]


async def test_a_purchase_by_hand_of_what_nobody_watched_is_one(
    alone: Engine, bot: RunningBot
) -> None:
    alone.account(bot).deposit("ETH", "2")
    alone.account(bot).deposit("USD", "-200.20")

    await reconcile(alone, bot)

    assert await flows(alone, bot) == [
        ("ETH", Decimal(200), "external_trade"),
        ("USD", Decimal("-200.2"), "external_trade"),
    ]


async def test_a_price_that_comes_a_moment_later_is_the_price_then(
    alone: Engine, bot: RunningBot
) -> None:
    alone.account(bot).deposit("ETH", "2")
    alone.venue.market.down.add("quote:ETH-USD")
    await reconcile(alone, bot)
    assert await flows(alone, bot) == [("ETH", None, "external")]

    alone.venue.market.down.clear()
    alone.venue.market.now += timedelta(seconds=30)
    await alone.watching.look(KEY)
    await FlowWorth(alone.database).sweep()

    assert await flows(alone, bot) == [("ETH", Decimal(200), "external")]


async def test_a_price_of_much_later_is_not_the_price_then(alone: Engine, bot: RunningBot) -> None:
    alone.account(bot).deposit("ETH", "2")
    alone.venue.market.down.add("quote:ETH-USD")
    await reconcile(alone, bot)

    alone.venue.market.down.clear()
    alone.venue.market.now += PRICE_AGE_MAX + timedelta(seconds=1)
    await alone.watching.look(KEY)
    await FlowWorth(alone.database).sweep()

    assert await flows(alone, bot) == [("ETH", None, "external")]
