"""Technical indicators over a window of candles, computed as TA-Lib 0.6 and later does.

Values are binary floats: indicators are statistics, and money never passes through here. Every
series has the length of its input, with NaN before the first value. Plain sequential arithmetic
gives the same bits on every machine, which a vectorised sum does not promise, and at a few hundred
bars it is as fast.

Sources: TA-Lib's C code (`ta_EMA.c`, `ta_MACD.c`, `ta_RSI.c`, `ta_ATR.c`, `ta_ADX.c`) with its
default compatibility mode and no unstable period; Wilder, *New Concepts in Technical Trading
Systems* (1978) for RSI, ATR and ADX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.markets import Candle

NAN = math.nan

_NEGLIGIBLE = 1e-14
"""Below this TA-Lib takes a divisor for zero."""

_FULL_SCALE = 100.0
_PRICES_IN_TYPICAL = 3.0


@dataclass(frozen=True, slots=True)
class Ohlcv:
    """Candles as parallel lists of floats, oldest first."""

    opened_at: list[datetime]
    opens: list[float]
    highs: list[float]
    lows: list[float]
    closes: list[float]
    volumes: list[float]

    @classmethod
    def from_candles(cls, candles: Sequence[Candle]) -> Ohlcv:
        """Convert once; each Decimal becomes the nearest float."""
        return cls(
            opened_at=[candle.opened_at for candle in candles],
            opens=[float(candle.open) for candle in candles],
            highs=[float(candle.high) for candle in candles],
            lows=[float(candle.low) for candle in candles],
            closes=[float(candle.close) for candle in candles],
            volumes=[float(candle.volume) for candle in candles],
        )


@dataclass(frozen=True, slots=True)
class Macd:
    """MACD line, its signal line, and their difference."""

    line: list[float]
    signal: list[float]
    histogram: list[float]


def ema(values: Sequence[float], period: int) -> list[float]:
    """Exponential moving average: alpha 2 / (period + 1), seeded with a simple mean."""
    return _ema_from(values, period, start=0)


def macd(values: Sequence[float], fast: int, slow: int, signal: int) -> Macd:
    """Moving average convergence divergence.

    As in TA-Lib the fast average is seeded with the `fast` values that end where the slow one's
    seed ends, so both begin on the same bar, and the three series begin together, with the signal's
    first value.
    """
    slow_ema = _ema_from(values, slow, start=0)
    fast_ema = _ema_from(values, fast, start=slow - fast)
    line = [quick - calm for quick, calm in zip(fast_ema, slow_ema, strict=True)]
    signal_line = _ema_from(line, signal, start=slow - 1)
    first = min(slow + signal - 2, len(line))
    line[:first] = [NAN] * first
    histogram = [value - smooth for value, smooth in zip(line, signal_line, strict=True)]
    return Macd(line, signal_line, histogram)


def rsi(values: Sequence[float], period: int) -> list[float]:
    """Wilder's relative strength index, 0 to 100; 0 where nothing moved."""
    series = [NAN] * len(values)
    if len(values) <= period:
        return series
    gain = loss = 0.0
    previous = values[0]
    for value in values[1 : period + 1]:
        change = value - previous
        previous = value
        if change < 0:
            loss -= change
        else:
            gain += change
    gain /= period
    loss /= period
    series[period] = _strength(gain, loss)
    for index in range(period + 1, len(values)):
        value = values[index]
        change = value - previous
        previous = value
        gain *= period - 1
        loss *= period - 1
        if change < 0:
            loss -= change
        else:
            gain += change
        gain /= period
        loss /= period
        series[index] = _strength(gain, loss)
    return series


def atr(market: Ohlcv, period: int) -> list[float]:
    """Wilder's average true range in the quote currency.

    Seeded with the mean of the first `period` true ranges.
    """
    ranges = _true_ranges(market)
    series = [NAN] * len(market.closes)
    if len(ranges) < period:
        return series
    value = sum(ranges[:period]) / period
    series[period] = value
    for index in range(period, len(ranges)):
        value = (value * (period - 1) + ranges[index]) / period
        series[index + 1] = value
    return series


def adx(market: Ohlcv, period: int) -> list[float]:
    """Wilder's average directional index, 0 to 100.

    The first `period` - 1 moves are summed, later ones smoothed in; the mean of the next `period`
    DX values is the first ADX (bar 2 * period - 1).
    """
    series = [NAN] * len(market.closes)
    seeds = period - 1
    first = 2 * period - 1
    if len(market.closes) <= first:
        return series
    ranges = _true_ranges(market)
    ups, downs = _directional_moves(market)
    up, down, spread = sum(ups[:seeds]), sum(downs[:seeds]), sum(ranges[:seeds])
    total = value = 0.0
    for index in range(seeds, len(ranges)):
        up += ups[index] - up / period
        down += downs[index] - down / period
        spread += ranges[index] - spread / period
        dx = _directional_index(up, down, spread)
        bar = index + 1
        if bar <= first:
            total += dx or 0.0
            value = total / period
        elif dx is not None:
            value = (value * (period - 1) + dx) / period
        if bar >= first:
            series[bar] = value
    return series


def session_vwap(market: Ohlcv) -> float | None:
    """Volume-weighted mean of typical prices since the newest bar's UTC midnight.

    Only candles of the window count. None where nothing was traded.
    """
    midnight = (
        market.opened_at[-1].astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    )
    worth = volume = 0.0
    for index in range(len(market.opened_at) - 1, -1, -1):
        if market.opened_at[index] < midnight:
            break
        typical = (
            market.highs[index] + market.lows[index] + market.closes[index]
        ) / _PRICES_IN_TYPICAL
        worth += typical * market.volumes[index]
        volume += market.volumes[index]
    return worth / volume if volume > 0 else None


def _ema_from(values: Sequence[float], period: int, *, start: int) -> list[float]:
    """EMA whose seed is the mean of the `period` values from `start`."""
    series = [NAN] * len(values)
    first = start + period - 1
    if first >= len(values):
        return series
    alpha = 2.0 / (period + 1)
    value = sum(values[start : first + 1]) / period
    series[first] = value
    for index in range(first + 1, len(values)):
        value += (values[index] - value) * alpha
        series[index] = value
    return series


def _strength(gain: float, loss: float) -> float:
    total = gain + loss
    return _FULL_SCALE * (gain / total) if total > _NEGLIGIBLE else 0.0


def _true_ranges(market: Ohlcv) -> list[float]:
    """True range of every bar but the first."""
    return [
        max(high - low, abs(high - previous), abs(low - previous))
        for high, low, previous in zip(
            market.highs[1:], market.lows[1:], market.closes[:-1], strict=True
        )
    ]


def _directional_moves(market: Ohlcv) -> tuple[list[float], list[float]]:
    """+DM and -DM of all bars but the first: the larger move beyond the bar before, if positive."""
    ups: list[float] = []
    downs: list[float] = []
    previous_high, previous_low = market.highs[0], market.lows[0]
    for high, low in zip(market.highs[1:], market.lows[1:], strict=True):
        rise, fall = high - previous_high, previous_low - low
        previous_high, previous_low = high, low
        ups.append(rise if rise > fall and rise > 0 else 0.0)
        downs.append(fall if fall > rise and fall > 0 else 0.0)
    return ups, downs


def _directional_index(up: float, down: float, spread: float) -> float | None:
    """DX from smoothed moves and true range; None where TA-Lib leaves the average as it is."""
    if abs(spread) < _NEGLIGIBLE:
        return None
    plus, minus = _FULL_SCALE * (up / spread), _FULL_SCALE * (down / spread)
    total = plus + minus
    if abs(total) < _NEGLIGIBLE:
        return None
    return _FULL_SCALE * (abs(minus - plus) / total)
