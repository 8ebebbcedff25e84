"""Replay of candle files, with a seeded market before their start and after their end."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from simulator.market.candle_files import (
    PERPETUAL_SUFFIX,
    CandleSeries,
    MarketDataUnusableError,
    find_files,
    load_series,
)
from simulator.market.candles import (
    CLOSE,
    COLUMNS,
    DAY_MS,
    MINUTE_MS,
    MINUTES_PER_DAY,
    OPEN,
    IntArray,
    Scale,
)
from simulator.market.seeded import Profile, SeededMarket

_HISTORY_BARS: Final = 320
_BAR_MS: Final = 5 * MINUTE_MS


def load_folder(folder: Path, wanted: Sequence[str] = ()) -> list[CandleSeries]:
    """Load the candle files of a folder that share one clock: one series a symbol, sorted.

    Without `wanted`, perpetuals are left out (they are no spot products), and of series whose times
    do not overlap the largest group is taken.

    Raises:
        MarketDataUnusableError: No file, one that cannot be used, a wanted symbol is missing, or
            the wanted ones do not share a clock.
    """
    paths = find_files(folder)
    if missing := sorted(set(wanted) - set(paths)):
        raise MarketDataUnusableError(f"no candle file for {', '.join(missing)} in {folder}")
    chosen = wanted or [name for name in paths if not name.endswith(PERPETUAL_SUFFIX)]
    files = [load_series(symbol, paths[symbol]) for symbol in sorted(chosen)]
    if not files:
        raise MarketDataUnusableError(
            f"no spot candle file in {folder} (NIJA_MARKET_DATA_DIR); they are named like "
            "coinbase-BTC-USD-1m-2018-04-04.csv.gz"
        )
    groups = _groups_sharing_a_clock(files)
    if wanted and len(groups) > 1:
        raise MarketDataUnusableError(f"{', '.join(wanted)} do not share a clock")
    largest = max(groups, key=len)
    return sorted(largest, key=lambda file: file.symbol)


def default_start_ms(files: Iterable[CandleSeries]) -> int:
    """Return the first instant at which every file has 320 closed five-minute bars behind it.

    A file too short for that starts half-way; the seeded market before it supplies the rest.
    """
    return max(_history_end_ms(file) for file in files)


class ReplayedMarket:
    """One symbol: the file where it has candles, the seeded market outside its range."""

    def __init__(self, file: CandleSeries, seed: int, profile: Profile) -> None:
        opening, closing = (
            file.scale.price(int(units)) for units in (file.values[0, OPEN], file.values[-1, CLOSE])
        )
        first, last = (file.first_ms, float(opening)), (file.end_ms, float(closing))
        self._file = file
        self._before = SeededMarket(seed, file.symbol, profile, passes=first)
        self._after = SeededMarket(seed, file.symbol, profile, passes=last)

    @property
    def scale(self) -> Scale:
        """The units of its integers."""
        return self._file.scale

    def day(self, day: int) -> IntArray:
        """Return the 1,440 minutes of a UTC day."""
        day_ms = day * DAY_MS
        if day_ms + DAY_MS <= self._file.first_ms:
            return self._before.day(day)
        if day_ms >= self._file.end_ms:
            return self._after.day(day)
        before, after = self._before.day(day), self._after.day(day)
        kind = np.result_type(self._file.values, before, after)
        minutes = np.zeros((MINUTES_PER_DAY, COLUMNS), dtype=kind)
        start = (self._file.first_ms - day_ms) // MINUTE_MS
        if start > 0:
            minutes[:start] = before[:start]
        end = (self._file.end_ms - day_ms) // MINUTE_MS
        if end < MINUTES_PER_DAY:
            minutes[end:] = after[end:]
        low, high = np.searchsorted(self._file.times, (day_ms, day_ms + DAY_MS))
        rows = (self._file.times[low:high] - day_ms) // MINUTE_MS
        minutes[rows] = self._file.values[low:high]
        return minutes


def _groups_sharing_a_clock(files: Sequence[CandleSeries]) -> list[list[CandleSeries]]:
    groups: list[list[CandleSeries]] = []
    end_ms = 0
    for file in sorted(files, key=lambda file: file.first_ms):
        if not groups or file.first_ms >= end_ms:
            groups.append([])
        groups[-1].append(file)
        end_ms = max(end_ms, file.end_ms)
    return groups


def _history_end_ms(file: CandleSeries) -> int:
    bars = np.unique(file.times // _BAR_MS)
    number = min(_HISTORY_BARS, len(bars) // 2)
    return (int(bars[number]) + 1) * _BAR_MS
