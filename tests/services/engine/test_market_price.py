"""One rule of pricing in two languages, and the list of stablecoins that both read."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain.valuation import DEFAULT_STABLECOINS, Stablecoins, price_of
from services.valuing import StablecoinList, stablecoins_in_force
from tests.support.engine import Engine

pytestmark = pytest.mark.integration


async def test_the_setting_is_put_in_force_and_taken_back(alone: Engine) -> None:
    async with alone.database.as_system() as session:
        assert await stablecoins_in_force(session) == DEFAULT_STABLECOINS
    mine = Stablecoins.parse("USDC=USD,EURC=EUR,EURI=EUR")

    assert await StablecoinList(alone.database, mine).sweep() == 1
    assert await StablecoinList(alone.database, mine).sweep() == 0

    async with alone.database.as_system() as session:
        assert await stablecoins_in_force(session) == mine
        await (await session.connection()).execute(text("DELETE FROM stablecoins"))
    assert await StablecoinList(alone.database, DEFAULT_STABLECOINS).sweep() == 1


CURRENCIES = ("USD", "EUR", "USDC", "USDT", "BTC", "BONK")
_prices = st.dictionaries(
    st.sampled_from([f"{a}-{b}" for a in CURRENCIES for b in CURRENCIES if a != b]),
    st.sampled_from([Decimal("1E-9"), Decimal("0.97"), Decimal(1), Decimal("43210.5"), Decimal(0)]),
    max_size=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(prices=_prices, late=st.sets(st.sampled_from(["BTC-USD", "USDC-USD", "BONK-USDC"])))
async def test_the_database_prices_as_the_domain_does(
    alone: Engine, prices: dict[str, Decimal], late: set[str]
) -> None:
    now = alone.venue.market.now
    async with alone.database.as_system() as session:
        coins = await stablecoins_in_force(session)
        connection = await session.connection()
        await connection.execute(text("DELETE FROM venue_quotes"))
        await connection.execute(text("DELETE FROM venue_states"))
        await connection.execute(
            text(
                "INSERT INTO venue_states (venue, realm, epoch, clock_at, seen_at, malformed)"
                " VALUES ('v', 'simulated', 'e', :now, :now, 0)"
            ),
            {"now": now},
        )
        for symbol, price in prices.items():
            at = now - timedelta(minutes=16 if symbol in late else 15)
            await connection.execute(
                text(
                    "INSERT INTO venue_quotes (venue, realm, symbol, epoch, bid, ask, last, at)"
                    " VALUES ('v', 'simulated', :symbol, 'e', 1, 1, :price, :at)"
                ),
                {"symbol": symbol, "price": price, "at": at},
            )
        fresh = {symbol: price for symbol, price in prices.items() if symbol not in late}
        for held in CURRENCIES:
            for into in ("USD", "EUR"):
                found = await connection.execute(
                    text("SELECT price FROM market_price('v', 'simulated', :held, :into)"),
                    {"held": held, "into": into},
                )
                assert found.scalar_one_or_none() == price_of(held, into, fresh, coins), (
                    held,
                    into,
                )
