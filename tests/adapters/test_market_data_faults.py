"""Public data of a venue that misbehaves: what fails costs its own market only, in short time."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from domain.markets import MarketStatus, Timeframe
from domain.orders import OrderRequest, OrderType, Refused, Side
from domain.ports import VenueUnavailable
from tests.support.simulator_process import Simulator, running_simulator

pytestmark = pytest.mark.integration
BOTH = ["BTC-USD", "ETH-USD"]
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running_simulator(
        NIJA_SIMULATOR_SYMBOLS=",".join(BOTH), NIJA_SIMULATOR_SEED="5"
    ) as simulator:
        yield simulator


@pytest.fixture
def faulty(process: Simulator) -> Iterator[Simulator]:
    yield process
    lift_all(process)


def lift_all(simulator: Simulator) -> None:
    url = simulator.url + "/control/faults"
    request = urllib.request.Request(url, method="DELETE")  # noqa: S310  # a loopback address
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass


@pytest.fixture
async def data(faulty: Simulator) -> AsyncIterator[CoinbaseMarketData]:
    it = CoinbaseMarketData(simulator_url=faulty.url)
    yield it
    await it.close()


def fault(simulator: Simulator, kind: str, **fields: object) -> None:
    simulator.post("/control/faults", {"kind": kind, **fields})


async def seen(data: CoinbaseMarketData) -> set[str]:
    at = (await data.clock()).now
    async with asyncio.timeout(2.5):
        return set(await data.quotes(BOTH, at=at))


async def test_many_quotes_are_one_request(faulty: Simulator, data: CoinbaseMarketData) -> None:
    await data.clock()  # connects, so that the quotes have all of their bound
    fault(faulty, "slow", call="quotes", seconds=0)
    fault(faulty, "slow", call="ticker", seconds=0)

    assert await seen(data) == set(BOTH)

    hits = {entry["call"]: entry["hits"] for entry in faulty.get("/control/faults")["faults"]}
    assert hits == {"quotes": 1, "ticker": 0}


@pytest.mark.parametrize("call", ["products", "quotes", "ticker", "candles", "fees", "time"])
@pytest.mark.parametrize(
    "how", [{"kind": "server_error"}, {"kind": "timeout", "seconds": 30}, {"kind": "cut_off"}]
)
async def test_one_failing_endpoint_leaves_every_market_its_price(
    faulty: Simulator, data: CoinbaseMarketData, call: str, how: dict[str, object]
) -> None:
    at = (await data.clock()).now
    faulty.post("/control/faults", {**how, "call": call})

    async with asyncio.timeout(2.5):
        assert set(await data.quotes(BOTH, at=at)) == set(BOTH)


async def test_a_silent_market_leaves_the_others_their_price(
    faulty: Simulator, data: CoinbaseMarketData
) -> None:
    fault(faulty, "product_delisted", product="ETH-USD", form="absent")

    assert await seen(data) == {"BTC-USD"}


@pytest.mark.parametrize("form", ["empty", "missing", "null", "zero", "negative", "not_a_number"])
async def test_a_malformed_product_costs_its_market_only_and_not_its_last_rules(
    faulty: Simulator, data: CoinbaseMarketData, form: str
) -> None:
    before = await data.rules()
    fault(faulty, "product_malformed", product="ETH-USD", form=form)
    data._rules._asked_at = None  # some time passes

    assert await data.fresh_rules() == before


async def test_a_delisted_product_is_halted(faulty: Simulator, data: CoinbaseMarketData) -> None:
    await data.rules()
    fault(faulty, "product_delisted", product="ETH-USD", form="absent")
    data._rules._asked_at = None  # some time passes

    assert (await data.fresh_rules())["ETH-USD"].status is MarketStatus.HALTED


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"kind": "product_delisted"}, MarketStatus.HALTED),
        ({"kind": "product_delisted", "form": "flagged"}, MarketStatus.HALTED),
        ({"kind": "product_mode", "mode": "trading_disabled"}, MarketStatus.HALTED),
        ({"kind": "product_mode", "mode": "cancel_only"}, MarketStatus.CANCEL_ONLY),
        ({"kind": "product_mode", "mode": "limit_only"}, MarketStatus.LIMIT_ONLY),
    ],
)
async def test_an_order_that_its_market_does_not_take_has_the_list_read_anew(
    faulty: Simulator, data: CoinbaseMarketData, how: dict[str, object], status: MarketStatus
) -> None:
    """Else a position of a market that is gone would look open for up to an hour."""
    await data.rules()
    account = CoinbaseAccount(
        credentials=faulty.open_account({"ETH": "1"}),
        market_data=data,
        simulator_url=faulty.url,
    )
    faulty.post("/control/faults", {**how, "product": "ETH-USD"})

    try:
        outcome = await account.place(
            OrderRequest(str(uuid4()), "ETH-USD", Side.SELL, OrderType.MARKET, Decimal("0.1"))
        )
        assert isinstance(outcome, Refused)
        await until_listed(data, status)
    finally:
        await account.close()


async def test_a_book_that_is_gone_has_the_list_read_anew(
    faulty: Simulator, data: CoinbaseMarketData
) -> None:
    """Paper orders meet the book only: their market is closed too, and says so."""
    await data.rules()
    fault(faulty, "product_delisted", product="ETH-USD")

    with pytest.raises(VenueUnavailable):
        await data.order_book("ETH-USD")

    await until_listed(data, MarketStatus.HALTED)


async def until_listed(data: CoinbaseMarketData, status: MarketStatus) -> None:
    async with asyncio.timeout(5):
        while data.known_rules()["ETH-USD"].status is not status:  # noqa: ASYNC110 - beside us
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "form", ["low_zero", "high_below_low", "empty_cell", "not_a_number", "null_cell"]
)
async def test_malformed_candles_are_dropped_one_by_one(
    faulty: Simulator, data: CoinbaseMarketData, form: str
) -> None:
    now = (await data.clock()).now
    fault(faulty, "candle_malformed", product="BTC-USD", form=form, probability=0.4)

    bars = await data.candles("BTC-USD", Timeframe.M1, since=now - 60 * MINUTE, until=now)

    assert 5 < len(bars) < 60
    assert all(0 < bar.low <= min(bar.open, bar.close) for bar in bars)
    assert all(bar.high >= max(bar.open, bar.close) for bar in bars)


async def test_a_hanging_candle_endpoint_holds_nobody_up(
    faulty: Simulator, data: CoinbaseMarketData
) -> None:
    fault(faulty, "timeout", call="candles", seconds=30)
    now = (await data.clock()).now

    async def ask(symbol: str, timeframe: Timeframe) -> bool:
        try:
            await data.last_bars(symbol, timeframe, count=300, until=now)
        except VenueUnavailable:
            return False
        return True

    async with asyncio.timeout(8):
        hunts = (ask(symbol, frame) for _ in range(100) for symbol in BOTH for frame in Timeframe)
        answered = await asyncio.gather(*hunts)
    async with asyncio.timeout(0.5):
        again = await ask("BTC-USD", Timeframe.M5)

    assert not any(answered)
    assert not again, "it is refused at once"
