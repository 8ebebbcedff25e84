"""A market made from a seed: any minute of any year, always the same.

Two scales are combined. Daily anchors follow a slowly mean-reverting walk with a factor common to
all symbols, so prices neither explode nor decouple. Inside each day, regimes of some hours (up,
down, sideways) with drift, momentum and their own volume lead from one anchor to the next; trends
last long enough for a trend follower to enter, and end. Each day depends on nothing but (seed,
symbol, day): history can be asked in any order and a restart reproduces the same market.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from simulator.market.candles import (
    CLOSE,
    COLUMNS,
    DEFAULT_SCALE,
    HIGH,
    LOW,
    MINUTE_MS,
    MINUTES_PER_DAY,
    MOST_NARROW,
    OPEN,
    VOLUME,
    IntArray,
    Scale,
)

FIRST_DAY: Final = 16_436  # 2015-01-01
LAST_DAY: Final = FIRST_DAY + 60 * 365
_DAILY_VOLATILITY: Final = 0.035
_DAILY_REVERSION: Final = 0.01
_COMMON_SHARE: Final = 0.7
_MINUTE_VOLATILITY: Final = 7e-4
_MOMENTUM: Final = 0.15
_MOMENTUM_KERNEL: Final = _MOMENTUM ** np.arange(10)
_REGIME_MINUTES: Final = (90, 360)
_REGIMES_PER_DAY: Final = MINUTES_PER_DAY // _REGIME_MINUTES[0] + 1
# drift per minute, volatility and volume factors of: up, down, sideways
_REGIMES: Final = np.array([(2.2e-4, 1.1, 1.6), (-2.2e-4, 1.2, 1.6), (0.0, 0.7, 0.8)])
_REGIME_ODDS: Final = (0.36, 0.30, 0.34)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """What makes a symbol look like itself.

    Attributes:
        price: Typical price in quote currency.
        turnover: Typical volume a minute, in quote currency.
        price_step: Price increment in units of the scale.
        volume_step: Size increment in units of the scale.
    """

    price: float
    turnover: float
    price_step: int
    volume_step: int
    scale: Scale = DEFAULT_SCALE


class SeededMarket:
    """The endless market of one symbol."""

    def __init__(
        self, seed: int, symbol: str, profile: Profile, *, passes: tuple[int, float] | None = None
    ) -> None:
        """Make the market.

        Args:
            seed: What all randomness comes from.
            symbol: Its name, part of the seed.
            profile: How the symbol looks.
            passes: A time (UTC milliseconds) and the price the market shall have then.
        """
        self._key = (seed, crc32(symbol.encode()))
        self._profile = profile
        self._anchors = _anchors(seed, self._key[1])
        # The cache belongs to the instance: a module-level one would keep dead markets alive.
        self._day_path = lru_cache(maxsize=64)(self._make_day_path)
        self._offset = float(np.log(profile.price))
        if passes is not None:
            time_ms, price = passes
            self._offset = float(np.log(price)) - self._log_price(time_ms)

    @property
    def scale(self) -> Scale:
        """The units of its integers."""
        return self._profile.scale

    def day(self, day: int) -> IntArray:
        """Return the 1,440 minutes of a UTC day; all zero outside 2015 to 2074."""
        if not FIRST_DAY <= day < LAST_DAY:
            return np.zeros((MINUTES_PER_DAY, COLUMNS), dtype=np.int64)
        logs, high_wick, low_wick, volume = self._day_path(day)
        prices = np.exp(logs + self._offset)
        opens, closes = prices[:-1], prices[1:]
        step = self._profile.volume_step
        sizes = volume * self._profile.turnover / prices[1:] * 10**self.scale.volume_digits
        volumes = _multiples(sizes, step)
        result = np.empty((MINUTES_PER_DAY, COLUMNS), dtype=volumes.dtype)
        result[:, OPEN] = self._steps(opens)
        result[:, CLOSE] = self._steps(closes)
        highs = self._steps(np.maximum(opens, closes) * (1 + high_wick))
        lows = self._steps(np.minimum(opens, closes) * (1 - low_wick))
        result[:, HIGH] = np.maximum(highs, np.maximum(result[:, OPEN], result[:, CLOSE]))
        result[:, LOW] = np.minimum(lows, np.minimum(result[:, OPEN], result[:, CLOSE]))
        result[:, VOLUME] = volumes
        return result

    def _steps(self, prices: FloatArray) -> IntArray:
        return _multiples(prices * 10**self.scale.price_digits, self._profile.price_step)

    def _log_price(self, time_ms: int) -> float:
        day, minute = divmod(time_ms // MINUTE_MS, MINUTES_PER_DAY)
        return float(self._day_path(day)[0][minute])

    def _make_day_path(self, day: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return log prices (1,441 of them, both ends included), two wicks and relative volume."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._key, day])))
        lengths = rng.integers(*_REGIME_MINUTES, size=_REGIMES_PER_DAY)
        kinds = rng.choice(len(_REGIMES), size=_REGIMES_PER_DAY, p=_REGIME_ODDS)
        strength = rng.uniform(0.6, 1.4, size=_REGIMES_PER_DAY)
        which = np.searchsorted(lengths.cumsum(), np.arange(MINUTES_PER_DAY), side="right")
        drift, volatility, activity = _REGIMES[kinds[which]].T
        noise = rng.standard_normal(MINUTES_PER_DAY + len(_MOMENTUM_KERNEL) - 1)
        momentum = np.convolve(noise, _MOMENTUM_KERNEL, mode="valid")
        moves = drift * strength[which] + _MINUTE_VOLATILITY * volatility * momentum
        start, end = self._anchors[day - FIRST_DAY], self._anchors[day - FIRST_DAY + 1]
        moves += (end - start - moves.sum()) / MINUTES_PER_DAY
        logs = np.concatenate(([start], start + moves.cumsum()))
        logs[-1] = end  # exactly the next day's first price
        wicks = np.abs(rng.standard_normal((2, MINUTES_PER_DAY))) * _MINUTE_VOLATILITY * 0.4
        surprise = np.minimum(np.abs(moves) / _MINUTE_VOLATILITY, 4.0)
        volume = activity * rng.lognormal(-0.1, 0.45, MINUTES_PER_DAY) * (0.6 + 0.5 * surprise)
        return logs, wicks[0], wicks[1], volume


def _multiples(units: FloatArray, step: int) -> IntArray:
    """Return the nearest multiples of the step, none of them zero."""
    steps = np.maximum(np.rint(units / step), 1)
    if steps.max() * step <= MOST_NARROW:
        return steps.astype(np.int64) * step
    return np.array([int(number) * step for number in steps.tolist()], dtype=object)


def _anchors(seed: int, symbol_key: int) -> FloatArray:
    common = _normals(seed, 0)
    own = _normals(seed, symbol_key)
    shocks = _COMMON_SHARE * common + np.sqrt(1 - _COMMON_SHARE**2) * own
    anchors = np.empty(len(shocks) + 1)
    anchors[0] = level = 0.0
    for number, shock in enumerate(_DAILY_VOLATILITY * shocks, start=1):
        level += shock - _DAILY_REVERSION * level
        anchors[number] = level
    return anchors


def _normals(seed: int, key: int) -> FloatArray:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key])))
    return rng.standard_normal(LAST_DAY - FIRST_DAY)
