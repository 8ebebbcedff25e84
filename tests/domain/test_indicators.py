from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
import talib

from domain.indicators import Ohlcv, adx, atr, ema, macd, rsi, session_vwap
from domain.markets import Candle

START = datetime(2026, 1, 1, tzinfo=UTC)


def assert_same(ours: Sequence[float], theirs: npt.NDArray[np.float64]) -> None:
    np.testing.assert_allclose(np.array(ours), theirs, rtol=1e-9, atol=1e-9)


def compare_all(market: Ohlcv) -> None:
    high, low, close = (np.array(side) for side in (market.highs, market.lows, market.closes))
    for period in (9, 21, 50):
        assert_same(ema(market.closes, period), talib.EMA(close, period))
    ours = macd(market.closes, 12, 26, 9)
    for mine, theirs in zip(
        (ours.line, ours.signal, ours.histogram), talib.MACD(close, 12, 26, 9), strict=True
    ):
        assert_same(mine, theirs)
    assert_same(rsi(market.closes, 14), talib.RSI(close, 14))
    assert_same(atr(market, 14), talib.ATR(high, low, close, 14))
    assert_same(adx(market, 14), talib.ADX(high, low, close, 14))


def random_market(seed: int, size: int, *, tick: float = 0.01) -> Ohlcv:
    source = random.Random(seed)
    price = 10 ** source.uniform(-2, 5)
    opens, highs, lows, closes, volumes = [], [], [], [], []
    for _ in range(size):
        opened, closed = price, price * math.exp(source.gauss(0, tick))
        opens.append(opened)
        highs.append(max(opened, closed) * (1 + abs(source.gauss(0, tick))))
        lows.append(min(opened, closed) * (1 - abs(source.gauss(0, tick))))
        closes.append(closed)
        volumes.append(source.expovariate(1))
        price = closed
    times = [START + timedelta(minutes=5 * index) for index in range(size)]
    return Ohlcv(times, opens, highs, lows, closes, volumes)


@pytest.mark.parametrize("seed", range(40))
def test_random_windows_agree_with_talib(seed: int) -> None:
    compare_all(random_market(seed, 300, tick=10 ** -(1 + seed % 4)))


@pytest.mark.parametrize("size", [2, 9, 13, 14, 15, 26, 27, 28, 29, 33, 34, 35, 51])
def test_short_windows_agree_with_talib(size: int) -> None:
    compare_all(random_market(size, size))


def test_a_market_that_never_moves_agrees_with_talib() -> None:
    flat = [100.0] * 60
    times = [START] * 60
    compare_all(Ohlcv(times, flat, flat, flat, flat, flat))


def test_a_market_that_only_rises_agrees_with_talib() -> None:
    closes = [100.0 + index for index in range(80)]
    lows = [close - 1 for close in closes]
    compare_all(Ohlcv([START] * 80, lows, closes, lows, closes, closes))
    assert rsi(closes, 14)[-1] == 100


@pytest.mark.parametrize("name", ["coinbase-ETH-USD-1m-2018-04-04", "BTC-PERP-1m-2022-01"])
def test_real_windows_agree_with_talib(
    name: str, load_bars: Callable[[str], Sequence[Candle]]
) -> None:
    bars = load_bars(f"{name}.csv.gz")
    for end in range(300, len(bars), max(1, len(bars) // 25)):
        compare_all(Ohlcv.from_candles(bars[end - 300 : end]))


def candle(opened_at: datetime, price: str, volume: str) -> Candle:
    worth = Decimal(price)
    return Candle(opened_at, worth, worth + 1, worth - 1, worth, Decimal(volume))


def test_vwap_starts_at_utc_midnight_of_the_newest_bar() -> None:
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    market = Ohlcv.from_candles(
        [
            candle(midnight - timedelta(minutes=5), "500", "1000"),
            candle(midnight, "100", "1"),
            candle(midnight + timedelta(minutes=5), "200", "3"),
        ]
    )
    assert session_vwap(market) == pytest.approx((100 * 1 + 200 * 3) / 4)


def test_vwap_weighs_typical_prices() -> None:
    bar = Candle(START, Decimal(10), Decimal(16), Decimal(7), Decimal(10), Decimal(2))
    assert session_vwap(Ohlcv.from_candles([bar])) == pytest.approx((16 + 7 + 10) / 3)


def test_vwap_of_a_day_without_volume_is_unknown() -> None:
    assert session_vwap(Ohlcv.from_candles([candle(START, "100", "0")])) is None
