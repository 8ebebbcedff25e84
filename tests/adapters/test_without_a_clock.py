"""A process that never saw the venue's clock: what the venue tells otherwise bounds its time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from adapters.venues.coinbase import CoinbaseMarketData
from adapters.venues.paper import PaperAccount
from domain.markets import Candle, Mode, Realm, Timeframe
from domain.orders import Accepted, OrderRequest, OrderType, Side
from domain.ports import AccountRef, VenueUnavailable
from domain.requests import Purpose, requests_for
from tests.adapters.test_market_data_faults import lift_all
from tests.support.paper_ledger import InMemoryPaperLedger
from tests.support.simulator_process import Simulator, running_simulator

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"
BAR = Timeframe.M5
HUNT_SECONDS = 5.0
"""How long a hunt waits for the bars of a market."""

DOWN: Mapping[str, Mapping[str, object]] = {
    "down": {"kind": "server_error"},
    "hanging": {"kind": "timeout", "seconds": 30},
}


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running_simulator(
        NIJA_SIMULATOR_SYMBOLS=SYMBOL,
        NIJA_SIMULATOR_SEED="5",
        NIJA_REPLAY_START="2026-03-01T12:02:00Z",
    ) as simulator:
        yield simulator


@pytest.fixture
def simulator(process: Simulator) -> Iterator[Simulator]:
    yield process
    lift_all(process)


@pytest.fixture
async def fresh(simulator: Simulator) -> AsyncIterator[CoinbaseMarketData]:
    it = CoinbaseMarketData(simulator_url=simulator.url)
    yield it
    await it.close()


async def closed_bars(simulator: Simulator) -> tuple[datetime, list[Candle]]:
    """The venue's time and its last bars, as who sees the clock has them."""
    data = CoinbaseMarketData(simulator_url=simulator.url)
    try:
        now = (await data.clock()).now
        return now, list(await data.last_bars(SYMBOL, BAR, count=10, until=now))
    finally:
        await data.close()


def take_clock(simulator: Simulator, how: str) -> None:
    simulator.post("/control/faults", {**DOWN[how], "call": "time"})


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)])
async def test_bars_that_have_closed_are_had_and_no_other(
    simulator: Simulator, fresh: CoinbaseMarketData, ahead: timedelta
) -> None:
    now, bars = await closed_bars(simulator)
    take_clock(simulator, "down")

    found = await fresh.last_bars(SYMBOL, BAR, count=10, until=now + ahead)

    assert list(found)[-9:] == bars[-9:], "however far ahead a reckoned time is"
    assert found[-1].opened_at + BAR.length <= now


async def test_a_clock_that_hangs_keeps_no_bar_from_a_hunt(
    simulator: Simulator, fresh: CoinbaseMarketData
) -> None:
    now, bars = await closed_bars(simulator)
    take_clock(simulator, "hanging")
    with pytest.raises((VenueUnavailable, TimeoutError)):
        async with asyncio.timeout(3.0):
            await fresh.clock()

    async with asyncio.timeout(HUNT_SECONDS):
        found = await fresh.last_bars(SYMBOL, BAR, count=10, until=now)

    assert list(found) == bars


async def test_a_quote_is_as_old_as_the_trade_that_it_tells(
    simulator: Simulator, fresh: CoinbaseMarketData
) -> None:
    now, _bars = await closed_bars(simulator)
    take_clock(simulator, "down")

    quote = await fresh.quote(SYMBOL)

    assert now - timedelta(minutes=1) <= quote.at <= now


@pytest.mark.parametrize("how", list(DOWN))
async def test_a_paper_exit_has_the_time_of_its_order_book(
    simulator: Simulator, fresh: CoinbaseMarketData, how: str
) -> None:
    now, _bars = await closed_bars(simulator)
    ref = AccountRef(uuid.uuid4(), uuid.uuid4(), "coinbase", Realm.SIMULATED, Mode.PAPER, None)
    ledger = InMemoryPaperLedger({"USD": Decimal(10_000)})
    paid = await trade(PaperAccount(ref=ref, market_data=fresh, ledger=ledger), Side.BUY)
    take_clock(simulator, how)
    other = CoinbaseMarketData(simulator_url=simulator.url)

    try:
        account = PaperAccount(ref=ref, market_data=other, ledger=ledger)
        rate = await trade(account, Side.SELL)
        fills = await account.fills(since=now - timedelta(days=1))
    finally:
        await other.close()

    assert {fill.filled_at for fill in fills} == {now}
    assert rate == paid, "the venue's fees come with its clock; those paid before serve"


async def trade(account: PaperAccount, side: Side) -> Decimal:
    """Trade 0.01 of it; the rate of the fee."""
    request = OrderRequest(
        str(uuid.uuid4()), SYMBOL, side, OrderType.MARKET, quantity=Decimal("0.01")
    )
    with requests_for(Purpose.EXIT if side is Side.SELL else Purpose.ENTRY):
        placed = await account.place(request)
    assert isinstance(placed, Accepted), placed
    long_ago = datetime.fromisoformat("2000-01-01T00:00:00Z")
    fills = [it for it in await account.fills(since=long_ago) if it.side is side]
    return fills[-1].fee / (fills[-1].price * fills[-1].quantity)
