"""The venue's list of markets, which calls of users may have read anew: seldom, whoever asks."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from adapters.venues.market_rules import ListedMarkets, MarketRulesCache
from domain.markets import MarketRules, VenueKey
from services.orders.market_rules import rules_record
from services.trading.commands import TradingService
from tests.api.harness import REALM, World, open_client, register
from tests.api.seeding import make_position, make_run

pytestmark = pytest.mark.integration

STEP = Decimal("0.0001")
RULES = MarketRules("BTC-USD", "BTC", "USD", STEP, Decimal("0.01"), STEP, Decimal(1), active=True)
CALLS = 30


async def test_giving_a_position_up_again_and_again_reads_the_list_of_markets_seldom(
    limited: World,
) -> None:
    """A free account has 10 calls a minute, but leaving a position is never refused; each list
    comes out of the request budget of all users."""
    asked = 0

    async def ask() -> ListedMarkets:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return ListedMarkets({"BTC-USD": RULES})

    cache = MarketRulesCache(VenueKey("coinbase", REALM), ask, fresh_seconds=3_600)
    limited.venues.market.fresh_rules = cache.fresh  # type: ignore[method-assign]
    limited.trading = TradingService(  # type: ignore[assignment]
        limited.database,
        limited.venues,
        limited.workflows,
        limited.clock,
        realm=REALM,
    )
    async with open_client(limited) as client:
        busy = await register(client)
        await limited.sql(
            "UPDATE users SET trial_ends_at = NULL WHERE id = %(id)s", id=busy.user_id
        )
        run = await make_run(limited, busy)
        position = await make_position(limited, run, rules=rules_record(RULES))
        path = f"/account/positions/pos_{position.id.hex}/write-off"

        answers = [await busy.call("POST", path) for _ in range(CALLS)]

    assert {it.status_code for it in answers} == {409}, {it.text for it in answers}
    assert asked == 1
    await cache.close()
