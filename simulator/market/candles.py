"""One-minute candles as fixed-point integers, their aggregation, and the path inside a minute.

Prices and volumes are integers in the units of their market's `Scale`, so that numpy can aggregate
them exactly. A *day* is an array of 1,440 rows (open, high, low, close, volume), one a minute of a
UTC day; a row whose open is zero is a minute without a trade. Its type is int64, or Python's own
integers where the sums of a month could exceed that.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from simulator.exact import EXACT

MINUTE_MS: Final = 60_000
MINUTES_PER_DAY: Final = 1_440
DAY_MS: Final = MINUTE_MS * MINUTES_PER_DAY
COLUMNS: Final = 5
OPEN, HIGH, LOW, CLOSE, VOLUME = range(COLUMNS)

IntArray = npt.NDArray[Any]
"""Integers: int64, or objects that are Python integers."""

# Largest cell of an int64 array: 128 times a month of minutes of it still fit.
MOST_NARROW: Final = 2**63 // (128 * 31 * MINUTES_PER_DAY)


class Scale(NamedTuple):
    """The units of one market: how many digits behind the point its integers have."""

    price_digits: int = 8
    volume_digits: int = 8

    def price(self, units: int) -> Decimal:
        """Return the exact price."""
        return decimal_of(units, self.price_digits)

    def volume(self, units: int) -> Decimal:
        """Return the exact volume."""
        return decimal_of(units, self.volume_digits)


DEFAULT_SCALE: Final = Scale()


class DaySource(Protocol):
    """A market of one symbol: all its minutes, past and future, as a pure function of the day."""

    @property
    def scale(self) -> Scale:
        """The units of its integers."""
        ...

    def day(self, day: int) -> IntArray:
        """Return the 1,440 minutes of the UTC day with this number since 1970."""
        ...


class Candle(NamedTuple):
    """One candle in its market's units, time in UTC milliseconds of its open."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Tick(NamedTuple):
    """One trade print in its market's units."""

    time_ms: int
    price: int
    volume: int


TICKS_PER_MINUTE: Final = 7
_TICK_SPACING_MS: Final = MINUTE_MS // (TICKS_PER_MINUTE + 1)
_MAX: Final = np.iinfo(np.int64).max


def decimal_of(units: int, digits: int) -> Decimal:
    """Return the exact Decimal of an amount with so many digits behind the point."""
    return EXACT.scaleb(Decimal(units), -digits)


def units_of(amount: str | Decimal, digits: int) -> int:
    """Return an amount as an integer with so many digits behind the point.

    Raises:
        ValueError: It has more of them.
    """
    scaled = EXACT.scaleb(Decimal(amount), digits)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"{amount} has more than {digits} digits behind the point")
    return units


def integers(values: Sequence[Sequence[int]]) -> IntArray:
    """Return rows as an array of the narrowest type that holds their sums."""
    widest = max((abs(value) for row in values for value in row), default=0)
    kind: Any = np.int64 if widest <= MOST_NARROW else object
    return np.array(values, dtype=kind).reshape(-1, COLUMNS)


def rescaled(values: IntArray, old: Scale, new: Scale) -> IntArray:
    """Return rows in finer units, of the narrowest type that holds their sums."""
    if new == old:
        return values
    price = 10 ** (new.price_digits - old.price_digits)
    volume = 10 ** (new.volume_digits - old.volume_digits)
    rows = [[*(v * price for v in row[:VOLUME]), row[VOLUME] * volume] for row in values.tolist()]
    return integers(rows)


def aggregate(minutes: IntArray, width: int) -> IntArray:
    """Aggregate whole minutes into candles of `width` minutes; empty ones have a zero open."""
    blocks = minutes.reshape(-1, width, COLUMNS)
    traded = blocks[:, :, OPEN] > 0
    rows = np.arange(len(blocks))
    first = traded.argmax(axis=1)
    last = width - 1 - traded[:, ::-1].argmax(axis=1)
    result = np.empty((len(blocks), COLUMNS), dtype=minutes.dtype)
    result[:, OPEN] = blocks[rows, first, OPEN]
    result[:, HIGH] = blocks[:, :, HIGH].max(axis=1)
    result[:, LOW] = np.where(traded, blocks[:, :, LOW], _MAX).min(axis=1)
    result[:, CLOSE] = blocks[rows, last, CLOSE]
    result[:, VOLUME] = blocks[:, :, VOLUME].sum(axis=1)
    result[~traded.any(axis=1)] = 0
    return result


def path(candle: Candle, price_step: int, volume_step: int) -> tuple[Tick, ...]:
    """Walk a candle: open, low, high, close when it rose; open, high, low, close when it fell.

    The ticks touch exactly the candle's four prices, with one stop half-way along each leg, and
    their volumes add up to the candle's. All lie strictly inside the minute, so a clock standing on
    a minute's boundary has seen all of the minute before and nothing of the next.

    Args:
        candle: The finished candle.
        price_step: Price increment in the market's units, for the half-way stops.
        volume_step: Size increment in those; all ticks but the last are multiples of it.
    """
    corners = (
        (candle.open, candle.low, candle.high, candle.close)
        if candle.close >= candle.open
        else (candle.open, candle.high, candle.low, candle.close)
    )
    prices = [corners[0]]
    for start, end in pairwise(corners):
        half = (start + end) // 2 // price_step * price_step
        # A leg shorter than one increment would floor to a price outside the candle.
        prices += [half if min(start, end) <= half <= max(start, end) else end, end]
    share = candle.volume // TICKS_PER_MINUTE // volume_step * volume_step
    volumes = [share] * (TICKS_PER_MINUTE - 1)
    volumes.append(candle.volume - share * (TICKS_PER_MINUTE - 1))
    return tuple(
        Tick(candle.open_ms + number * _TICK_SPACING_MS, price, volume)
        for number, (price, volume) in enumerate(zip(prices, volumes, strict=True), start=1)
    )


def candle_of(open_ms: int, ticks: tuple[Tick, ...]) -> Candle | None:
    """Return the candle these ticks have made so far, or None when there was none yet."""
    if not ticks:
        return None
    prices = [tick.price for tick in ticks]
    return Candle(
        open_ms,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(tick.volume for tick in ticks),
    )
