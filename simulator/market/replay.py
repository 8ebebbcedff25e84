"""Replay of one-minute candle files, with a seeded market before their start and after their end.

File format: gzip CSV, `time_ms,open,high,low,close,volume`, UTC milliseconds of the bar's open,
named like `coinbase-BTC-USD-1m-2018-04-04.csv.gz`. A minute without a row had no trade.
"""

import csv
import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulator.market.candles import (
    CLOSE,
    COLUMNS,
    DAY_MS,
    MINUTE_MS,
    MINUTES_PER_DAY,
    OPEN,
    UNITS,
    IntArray,
    units_of,
)
from simulator.market.seeded import Profile, SeededMarket

_FILE_NAME: Final = re.compile(r"^(?:[a-z0-9]+-)?([A-Z0-9]+-[A-Z0-9]+)-1m\b.*\.csv\.gz$")
_PERPETUAL_SUFFIX: Final = "-PERP"
_HISTORY_BARS: Final = 320
_BAR_MS: Final = 5 * MINUTE_MS


class MarketDataUnusableError(Exception):
    """The candle folder cannot be replayed as configured; the message says why."""


@dataclass(frozen=True)
class CandleFile:
    """The candles of one symbol, in the order of time."""

    symbol: str
    times: IntArray
    values: IntArray

    @property
    def first_ms(self) -> int:
        """Open of the first candle."""
        return int(self.times[0])

    @property
    def end_ms(self) -> int:
        """End of the last candle."""
        return int(self.times[-1]) + MINUTE_MS

    @property
    def identity(self) -> str:
        """What tells this file's market from another's."""
        return f"{self.symbol}:{self.first_ms}:{self.end_ms}:{len(self.times)}"


def load_folder(folder: Path, wanted: Sequence[str] = ()) -> list[CandleFile]:
    """Load the candle files of a folder that share one clock, sorted by symbol.

    Without `wanted`, perpetuals are left out (they are no spot products), and of files whose times
    do not overlap the largest group is taken.

    Raises:
        MarketDataUnusableError: No usable file, a wanted symbol is missing, or the wanted ones do
            not share a clock.
    """
    paths = {
        match[1]: path
        for path in sorted(folder.glob("*.csv.gz"))
        if (match := _FILE_NAME.match(path.name))
    }
    if missing := sorted(set(wanted) - set(paths)):
        raise MarketDataUnusableError(f"no candle file for {', '.join(missing)} in {folder}")
    chosen = wanted or [name for name in paths if not name.endswith(_PERPETUAL_SUFFIX)]
    files = [_load(symbol, paths[symbol]) for symbol in sorted(chosen)]
    if not files:
        raise MarketDataUnusableError(f"no spot candle file in {folder}")
    groups = _groups_sharing_a_clock(files)
    if wanted and len(groups) > 1:
        raise MarketDataUnusableError(f"{', '.join(wanted)} do not share a clock")
    largest = max(groups, key=len)
    return sorted(largest, key=lambda file: file.symbol)


def default_start_ms(files: Iterable[CandleFile]) -> int:
    """Return the first instant at which every file has 320 closed five-minute bars behind it.

    A file too short for that starts half-way; the seeded market before it supplies the rest.
    """
    return max(_history_end_ms(file) for file in files)


class ReplayedMarket:
    """One symbol: the file where it has candles, the seeded market outside its range."""

    def __init__(self, file: CandleFile, seed: int, profile: Profile) -> None:
        first = (file.first_ms, float(file.values[0, OPEN] / UNITS))
        last = (file.end_ms, float(file.values[-1, CLOSE] / UNITS))
        self._file = file
        self._before = SeededMarket(seed, file.symbol, profile, passes=first)
        self._after = SeededMarket(seed, file.symbol, profile, passes=last)

    def day(self, day: int) -> IntArray:
        """Return the 1,440 minutes of a UTC day."""
        day_ms = day * DAY_MS
        if day_ms + DAY_MS <= self._file.first_ms:
            return self._before.day(day)
        if day_ms >= self._file.end_ms:
            return self._after.day(day)
        minutes = np.zeros((MINUTES_PER_DAY, COLUMNS), dtype=np.int64)
        start = (self._file.first_ms - day_ms) // MINUTE_MS
        if start > 0:
            minutes[:start] = self._before.day(day)[:start]
        end = (self._file.end_ms - day_ms) // MINUTE_MS
        if end < MINUTES_PER_DAY:
            minutes[end:] = self._after.day(day)[end:]
        low, high = np.searchsorted(self._file.times, (day_ms, day_ms + DAY_MS))
        rows = (self._file.times[low:high] - day_ms) // MINUTE_MS
        minutes[rows] = self._file.values[low:high]
        return minutes


def _load(symbol: str, path: Path) -> CandleFile:
    times: list[int] = []
    rows: list[list[int]] = []
    with gzip.open(path, "rt", newline="") as stream:
        reader = csv.reader(stream)
        next(reader, None)
        for row in reader:
            times.append(int(row[0]))
            rows.append([units_of(value) for value in row[1:]])
    values = np.array(rows, dtype=np.int64).reshape(-1, COLUMNS)
    order = np.argsort(times, kind="stable")
    if not rows or (np.diff(np.array(times)[order]) <= 0).any():
        raise MarketDataUnusableError(f"{path.name} is empty or has two candles for one minute")
    if symbol.endswith(_PERPETUAL_SUFFIX):
        # Perpetual files give the volume in quote currency.
        values[:, -1] = values[:, -1] / (values[:, CLOSE] / UNITS)
    return CandleFile(symbol, np.array(times, dtype=np.int64)[order], values[order])


def _groups_sharing_a_clock(files: Sequence[CandleFile]) -> list[list[CandleFile]]:
    groups: list[list[CandleFile]] = []
    end_ms = 0
    for file in sorted(files, key=lambda file: file.first_ms):
        if not groups or file.first_ms >= end_ms:
            groups.append([])
        groups[-1].append(file)
        end_ms = max(end_ms, file.end_ms)
    return groups


def _history_end_ms(file: CandleFile) -> int:
    bars = np.unique(file.times // _BAR_MS)
    number = min(_HISTORY_BARS, len(bars) // 2)
    return (int(bars[number]) + 1) * _BAR_MS
