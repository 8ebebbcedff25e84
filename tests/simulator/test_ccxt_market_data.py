from collections.abc import AsyncIterator
from typing import Any

import ccxt as ccxt_sync
import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"


@pytest.fixture
async def anyone(simulator: SimulatorProcess) -> AsyncIterator[Any]:
    async with ccxt_client(simulator.url, None) as client:
        yield client


async def test_markets_carry_the_rules_and_the_accounts_own_fees(client: Any) -> None:
    markets = await client.load_markets()

    market = markets[SYMBOL]
    assert market["precision"] == {"amount": 1e-8, "price": 0.01}
    assert market["limits"]["cost"]["min"] == 1
    assert (market["taker"], market["maker"]) == (0.001, 0.0006)
    assert market["active"]
    assert {"BTC/USD", "ETH/USD", "SOL/USD", "LTC/USD"} <= set(markets)


async def test_sync_client_works_too(simulator: SimulatorProcess, account: dict[str, Any]) -> None:
    client = ccxt_sync.coinbase({"apiKey": account["api_key"], "secret": account["api_secret"]})
    client.urls["api"]["rest"] = simulator.url
    try:
        assert SYMBOL in client.load_markets()
        assert client.fetch_balance()["total"]["USD"] == 10_000
    finally:
        client.session.close()


async def test_time_is_the_venue_clock(simulator: SimulatorProcess, anyone: Any) -> None:
    now_ms = simulator.get("/control/clock")["now_ms"]

    assert await anyone.fetch_time() == now_ms
    assert await anyone.fetch_time({"method": "v3PublicGetBrokerageTime"}) == now_ms


async def test_ticker_agrees_with_tickers_book_and_trades(anyone: Any) -> None:
    ticker = await anyone.fetch_ticker(SYMBOL)
    tickers = await anyone.fetch_tickers()
    book = await anyone.fetch_order_book(SYMBOL, 5)
    trades = await anyone.fetch_trades(SYMBOL, limit=3)

    assert ticker["bid"] < ticker["last"] < ticker["ask"]
    assert tickers[SYMBOL]["last"] == ticker["last"]
    assert tickers[SYMBOL]["baseVolume"] > 0
    assert [len(book["bids"]), len(book["asks"])] == [5, 5]
    assert (book["bids"][0][0], book["asks"][0][0]) == (ticker["bid"], ticker["ask"])
    assert trades[-1]["price"] == ticker["last"]
    assert trades[-1]["timestamp"] == ticker["timestamp"]
    assert len(await anyone.fetch_tickers(["ETH/USD"])) == 1


async def test_candles_of_every_timeframe(anyone: Any) -> None:
    now_ms = await anyone.fetch_time()

    for timeframe in ("1m", "5m", "15m", "30m", "1h", "2h", "6h", "1d"):
        width_ms = anyone.parse_timeframe(timeframe) * 1000
        since = now_ms // width_ms * width_ms - 299 * width_ms
        candles = await anyone.fetch_ohlcv(SYMBOL, timeframe, since=since)
        assert len(candles) in (299, 300), timeframe  # the forming one may have no trade yet
        assert [candle[0] for candle in candles] == [
            since + index * width_ms for index in range(len(candles))
        ]
        for _, open_, high, low, close, volume in candles:
            assert low <= min(open_, close) <= max(open_, close) <= high
            assert volume > 0


async def test_coarse_candles_are_made_of_fine_ones(anyone: Any) -> None:
    since = (await anyone.fetch_time()) - 60 * 60_000
    fine = await anyone.fetch_ohlcv(SYMBOL, "1m", since=since, limit=60)
    [coarse] = await anyone.fetch_ohlcv(SYMBOL, "1h", since=since - since % 3_600_000, limit=1)

    inside = [candle for candle in fine if candle[0] // 3_600_000 == coarse[0] // 3_600_000]
    if len(inside) == 60:
        assert coarse[1] == inside[0][1]
        assert coarse[2] == max(candle[2] for candle in inside)
        assert coarse[3] == min(candle[3] for candle in inside)
        assert coarse[4] == inside[-1][4]


async def test_step_shows_the_next_candle_only_when_it_is_over(
    simulator: SimulatorProcess, anyone: Any
) -> None:
    now_ms = await anyone.fetch_time()
    ahead = {"since": now_ms, "limit": 10}
    assert await anyone.fetch_ohlcv(SYMBOL, "1m", **ahead) == []
    before = await anyone.fetch_ticker(SYMBOL)

    assert simulator.advance(1) == now_ms + 60_000

    [candle] = await anyone.fetch_ohlcv(SYMBOL, "1m", **ahead)
    ticker = await anyone.fetch_ticker(SYMBOL)
    assert candle[0] == now_ms
    assert candle[1] == before["last"]
    assert candle[4] == ticker["last"]


async def test_unknown_product_is_refused(anyone: Any) -> None:
    await anyone.load_markets()

    with pytest.raises(ccxt_sync.ExchangeError, match="NOT_FOUND"):
        await anyone.v3_public_get_brokerage_market_product_book({"product_id": "NO-USD"})


async def test_too_many_candles_are_refused(anyone: Any) -> None:
    with pytest.raises(ccxt_sync.BadRequest, match="less than 350"):
        await anyone.v3_public_get_brokerage_market_products_product_id_candles(
            {"product_id": "BTC-USD", "granularity": "ONE_MINUTE", "start": 0, "end": 60 * 400}
        )
