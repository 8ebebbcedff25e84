"""What the market has shown by a given instant: ticks, the last trade, candles, daily figures.

The feed is the only reader of the future-knowing sources, and every question carries the instant
it is asked at; nothing later than that instant ever leaves this module.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from simulator.market.candles import (
    CLOSE,
    DAY_MS,
    HIGH,
    LOW,
    MINUTE_MS,
    MINUTES_PER_DAY,
    OPEN,
    TICKS_PER_MINUTE,
    VOLUME,
    Candle,
    DaySource,
    IntArray,
    Tick,
    aggregate,
    candle_of,
    path,
)

_LOOKBACK_DAYS = 30


class Trade(NamedTuple):
    """One trade print; venue time in UTC milliseconds."""

    time_ms: int
    price: Decimal
    volume: Decimal


class Bar(NamedTuple):
    """One candle; time in UTC milliseconds of its open."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Listing(NamedTuple):
    """A symbol's source and the increments its path is rounded to, in the source's units."""

    source: DaySource
    price_step: int
    volume_step: int


class DayFigures(NamedTuple):
    """The last 24 hours: base volume, and the price a day ago."""

    volume: Decimal
    open: Decimal


class MarketFeed:
    """All symbols of one market, on one clock."""

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        self._listings = dict(listings)
        # Instance-bound caches: about 58 kB a day, a few hundred bytes an aggregate or a path.
        self._day = lru_cache(maxsize=12 * len(self._listings))(self._load_day)
        self._aggregate = lru_cache(maxsize=4096)(self._load_aggregate)
        self._path = lru_cache(maxsize=64 * len(self._listings))(self._load_path)
        self._trades = lru_cache(maxsize=64 * len(self._listings))(self._load_trades)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The listed symbols, sorted."""
        return tuple(sorted(self._listings))

    def ticks(self, symbol: str, after_ms: int, until_ms: int) -> Iterator[Trade]:
        """Yield the ticks in (after_ms, until_ms], oldest first."""
        for minute in range(after_ms // MINUTE_MS, until_ms // MINUTE_MS + 1):
            for tick in self._trades(symbol, minute):
                if after_ms < tick.time_ms <= until_ms:
                    yield tick

    def last_tick(self, symbol: str, now_ms: int) -> Trade:
        """Return the most recent tick at or before `now_ms`.

        Raises:
            LookupError: Nothing was traded in the thirty days before.
        """
        minute = now_ms // MINUTE_MS
        seen = [tick for tick in self._trades(symbol, minute) if tick.time_ms <= now_ms]
        if seen:
            return seen[-1]
        day, row = divmod(minute, MINUTES_PER_DAY)
        for back in range(_LOOKBACK_DAYS):
            minutes = self._day(symbol, day - back)
            traded = np.flatnonzero(minutes[: row if back == 0 else None, OPEN])
            if traded.size:
                return self._trades(symbol, (day - back) * MINUTES_PER_DAY + int(traded[-1]))[-1]
        raise LookupError(f"{symbol} has no trade before {now_ms}")

    def recent_ticks(
        self, symbol: str, now_ms: int, limit: int, minutes: int = 240
    ) -> list[tuple[int, Trade]]:
        """Return up to `limit` (number, tick) pairs of the last minutes, newest first."""
        found: list[tuple[int, Trade]] = []
        minute = now_ms // MINUTE_MS
        for past in range(minute, minute - minutes, -1):
            numbered = enumerate(self._trades(symbol, past), start=past * TICKS_PER_MINUTE)
            found += [pair for pair in reversed(list(numbered)) if pair[1].time_ms <= now_ms]
            if len(found) >= limit:
                break
        return found[:limit]

    def candles(
        self, symbol: str, width: int, start_ms: int, end_ms: int, now_ms: int
    ) -> list[Bar]:
        """Return candles of `width` minutes whose open lies in [start_ms, end_ms], oldest first.

        The candle being formed at `now_ms` is included with what has happened so far; candles
        without a trade are left out.
        """
        end_ms = min(end_ms, now_ms)
        days = range(max(start_ms, 0) // DAY_MS, end_ms // DAY_MS + 1)
        if not days:
            return []
        rows = np.concatenate([self._bars(symbol, day, width, now_ms) for day in days])
        opens = days[0] * DAY_MS + np.arange(len(rows)) * width * MINUTE_MS
        chosen = (opens >= start_ms) & (opens <= end_ms) & (rows[:, OPEN] > 0)
        scale = self._listings[symbol].source.scale
        found = zip(opens[chosen].tolist(), rows[chosen].tolist(), strict=True)
        return [
            Bar(
                open_ms,
                open=scale.price(fields[OPEN]),
                high=scale.price(fields[HIGH]),
                low=scale.price(fields[LOW]),
                close=scale.price(fields[CLOSE]),
                volume=scale.volume(fields[VOLUME]),
            )
            for open_ms, fields in found
        ]

    def day_figures(self, symbol: str, now_ms: int) -> DayFigures:
        """Return volume and opening price of the 1,440 closed minutes before `now_ms`."""
        day, row = divmod(now_ms // MINUTE_MS, MINUTES_PER_DAY)
        yesterday, today = self._day(symbol, day - 1)[row:], self._day(symbol, day)[:row]
        scale = self._listings[symbol].source.scale
        units = int(yesterday[:, VOLUME].sum()) + int(today[:, VOLUME].sum())
        volume = scale.volume(units)
        for part in (yesterday, today):
            traded = np.flatnonzero(part[:, OPEN])
            if traded.size:
                return DayFigures(volume, scale.price(int(part[traded[0], OPEN])))
        return DayFigures(volume, self.last_tick(symbol, now_ms).price)

    def _bars(self, symbol: str, day: int, width: int, now_ms: int) -> IntArray:
        today, row = divmod(now_ms // MINUTE_MS, MINUTES_PER_DAY)
        if day < today:
            return self._aggregate(symbol, day, width)
        minutes = self._day(symbol, day).copy()
        minutes[row:] = 0
        ticks = tuple(t for t in self._path(symbol, now_ms // MINUTE_MS) if t.time_ms <= now_ms)
        if forming := candle_of(0, ticks):
            minutes[row] = forming[1:]
        return aggregate(minutes, width)

    def _load_day(self, symbol: str, day: int) -> IntArray:
        return self._listings[symbol].source.day(day)

    def _load_aggregate(self, symbol: str, day: int, width: int) -> IntArray:
        return aggregate(self._day(symbol, day), width)

    def _load_path(self, symbol: str, minute: int) -> tuple[Tick, ...]:
        day, row = divmod(minute, MINUTES_PER_DAY)
        fields: list[int] = self._day(symbol, day)[row].tolist()
        if not fields[OPEN]:
            return ()
        listing = self._listings[symbol]
        candle = Candle(minute * MINUTE_MS, *fields)
        return path(candle, listing.price_step, listing.volume_step)

    def _load_trades(self, symbol: str, minute: int) -> tuple[Trade, ...]:
        scale = self._listings[symbol].source.scale
        return tuple(
            Trade(tick.time_ms, scale.price(tick.price), scale.volume(tick.volume))
            for tick in self._path(symbol, minute)
        )
