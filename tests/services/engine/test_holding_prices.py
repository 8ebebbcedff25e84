"""What an account holds keeps its price, whether somebody trades with it or not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from domain.markets import Mode, Realm
from services.markets.holding_prices import HoldingPrices
from tests.support.engine import Engine
from tests.support.fake_venue import KEY
from tests.support.traders import add_trader

pytestmark = pytest.mark.integration


async def holder(engine: Engine, **held: str) -> UUID:
    """An account that nobody trades with."""
    balances = {name: Decimal(total) for name, total in held.items()}
    trader = await add_trader(engine.database, mode=Mode.LIVE, balances=balances)
    return trader.account_id


async def equity(engine: Engine, account_id: UUID) -> Decimal:
    (row,) = await engine.rows(
        "SELECT sum(b.total * m.price) AS equity FROM accounts a"
        " JOIN balances b ON b.account_id = a.id LEFT JOIN LATERAL"
        " market_price(a.venue, a.realm, b.currency, a.currency) m ON true WHERE a.id = :id",
        id=account_id,
    )
    worth: Decimal = row["equity"]
    return worth


@pytest.fixture
def prices(alone: Engine) -> HoldingPrices:
    return HoldingPrices(alone.database, alone.venue, realm=Realm.SIMULATED)


async def test_an_account_without_a_run_stays_priced_while_the_venues_clock_moves_on(
    alone: Engine, prices: HoldingPrices
) -> None:
    account_id = await holder(alone, USD="1000", ETH="3")

    for minutes in range(0, 60, 4):
        alone.venue.market.last["ETH-USD"] = Decimal(100 + minutes)
        alone.venue.market.now += timedelta(minutes=4)
        await alone.watching.look(KEY)
        await prices.sweep()
        assert await equity(alone, account_id) >= 1_000 + 3 * Decimal(100 + minutes - 4), minutes


async def test_prices_are_asked_for_together_and_no_oftener_than_needed(
    alone: Engine, prices: HoldingPrices, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await holder(alone, ETH="3", BTC="1", STAKED="5")
    await alone.watching.look(KEY)
    market, asked = alone.venue.market, []
    ask = market.quotes

    async def noted(symbols: list[str], **options: object) -> object:
        asked.append(list(symbols))
        return await ask(symbols, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(market, "quotes", noted)

    for _ in range(3):
        assert await prices.sweep() in {2, 0}
    market.now += timedelta(minutes=6)
    await prices.sweep()

    assert asked == [["BTC-USD", "ETH-USD"]] * 2


async def test_a_market_that_gives_no_price_is_left_alone_for_a_while(
    alone: Engine, prices: HoldingPrices
) -> None:
    await holder(alone, ETH="3")
    alone.venue.market.down.add("quote:ETH-USD")
    assert await prices.sweep() == 0

    alone.venue.market.down.clear()

    assert await prices.sweep() == 0
    assert await HoldingPrices(alone.database, alone.venue, realm=Realm.SIMULATED).sweep() == 1


async def test_a_venue_that_does_not_tell_its_time_is_no_failure(
    alone: Engine, prices: HoldingPrices
) -> None:
    await holder(alone, ETH="3")
    alone.venue.market.down.add("clock")

    assert await prices.sweep() == 0
