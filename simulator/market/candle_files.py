"""Candle files: any number of them a symbol, read strictly into one series.

Format: CSV, plain or gzipped, `time,open,high,low,close,volume`, named like
`coinbase-BTC-USD-1m-2018-04-04.csv.gz`. The time is that of the bar's open in UTC: whole seconds,
milliseconds, microseconds or nanoseconds since 1970, or ISO text, recognised by its form. A minute
without a row had no trade.
"""

import csv
import gzip
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import reduce
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np

from simulator.exact import EXACT, decimals_of
from simulator.market.candles import (
    CLOSE,
    DAY_MS,
    DEFAULT_SCALE,
    HIGH,
    LOW,
    MINUTE_MS,
    OPEN,
    VOLUME,
    IntArray,
    Scale,
    integers,
    rescaled,
    units_of,
)

logger = logging.getLogger(__name__)

PERPETUAL_SUFFIX: Final = "-PERP"
MOST_GAP_DAYS: Final = 28
"""A longer silence leaves the market without a last price."""

_FILE_NAME: Final = re.compile(r"^(?:[a-z0-9]+-)?([A-Z0-9]+-[A-Z0-9]+)-1m\b.*\.csv(?:\.gz)?$")
_HEADER: Final = ("open", "high", "low", "close", "volume")
_CELLS: Final = 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = 1_000_000_000_000  # 2001
_LAST_MS: Final = 4_102_444_800_000  # 2100
# unit: nanoseconds in one, and the largest number that can only be in it: the year 2100
_UNITS: Final = (
    ("seconds", 10**9, 10**11),
    ("milliseconds", 10**6, 10**14),
    ("microseconds", 10**3, 10**17),
    ("nanoseconds", 1, 10**20),
)
_ISO: Final = "ISO text"
_MOST_AMOUNT: Final = Decimal(10) ** 18
_MOST_DECIMALS: Final = 18
_BATCH: Final = 20_000
_PERPETUAL_QUANTUM: Final = Decimal("1e-8")


class MarketDataUnusableError(Exception):
    """The candle folder cannot be replayed as configured; the message says why."""


class BadRowError(Exception):
    """One row cannot be used; the message says why."""


@dataclass(frozen=True)
class CandleSeries:
    """The candles of one symbol, in the order of time, each minute once."""

    symbol: str
    times: IntArray
    values: IntArray
    scale: Scale = DEFAULT_SCALE

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
        """Identifies the market of this series."""
        return f"{self.symbol}:{self.first_ms}:{self.end_ms}:{len(self.times)}"


class _Part(NamedTuple):
    """A run of rows of one file, with the line of each."""

    name: str
    lines: IntArray
    times: IntArray
    values: IntArray
    scale: Scale


def find_files(folder: Path) -> dict[str, list[Path]]:
    """Return the candle files of a folder by symbol."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.csv*")):
        if match := _FILE_NAME.match(path.name):
            found.setdefault(match[1], []).append(path)
    return found


def load_series(symbol: str, paths: Sequence[Path]) -> CandleSeries:
    """Read the files of one symbol into one series.

    A minute that several rows show alike is taken once, with a warning.

    Raises:
        MarketDataUnusableError: A row cannot be used, two rows contradict each other, a file is
            empty or broken, or the series is silent for weeks; with file, row and reason.
    """
    parts = [part for path in paths for part in _parts(path, symbol)]
    scale = reduce(
        lambda a, b: Scale(
            max(a.price_digits, b.price_digits), max(a.volume_digits, b.volume_digits)
        ),
        (part.scale for part in parts),
        DEFAULT_SCALE,
    )
    times = np.concatenate([part.times for part in parts])
    values = np.concatenate([rescaled(part.values, part.scale, scale) for part in parts])
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    is_repeated = np.concatenate(([False], np.diff(times) == 0))
    if is_repeated.any():
        _refuse_contradictions(parts, order, np.flatnonzero(is_repeated), times, values)
        number = int(is_repeated.sum())
        logger.warning("%s: %d rows of the candle files repeat another one", symbol, number)
        times, values = times[~is_repeated], values[~is_repeated]
    _refuse_silence(symbol, times)
    return CandleSeries(symbol, times, values, scale)


def _parts(path: Path, symbol: str) -> Iterator[_Part]:
    lines: list[int] = []
    times: list[int] = []
    rows: list[list[Decimal]] = []
    unit: str | None = None
    for line, cells in _rows(path):
        try:
            time_ms, unit = _time_ms(cells[0].strip(), unit)
            rows.append(_amounts(cells, symbol))
        except BadRowError as error:
            raise MarketDataUnusableError(f"{path.name}, row {line}: {error}") from error
        lines.append(line)
        times.append(time_ms)
        if len(rows) == _BATCH:
            yield _part(path.name, lines, times, rows)
            lines, times, rows = [], [], []
    if unit is None:
        raise MarketDataUnusableError(f"{path.name} is empty")
    if rows:
        yield _part(path.name, lines, times, rows)


def _part(name: str, lines: list[int], times: list[int], rows: list[list[Decimal]]) -> _Part:
    scale = Scale(
        max(8, *(decimals_of(price) for row in rows for price in row[:VOLUME])),
        max(8, *(decimals_of(row[VOLUME]) for row in rows)),
    )
    values = integers(
        [
            [
                *(units_of(price, scale.price_digits) for price in row[:VOLUME]),
                units_of(row[VOLUME], scale.volume_digits),
            ]
            for row in rows
        ]
    )
    return _Part(name, np.array(lines), np.array(times, dtype=np.int64), values, scale)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells); the header, if there is one, is row 1."""
    line = 0
    try:
        with _opened(path) as stream:
            for line, cells in enumerate(csv.reader(stream, strict=True), start=1):
                is_header = tuple(cell.strip().lower() for cell in cells[1:]) == _HEADER
                if cells and not (line == 1 and is_header):
                    yield line, cells
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise MarketDataUnusableError(
            f"{path.name}, row {line + 1}: the file is broken: {error}"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", newline="", encoding="utf-8-sig") as stream:
            yield stream
    else:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            yield stream


def _time_ms(text: str, expected: str | None) -> tuple[int, str]:
    """Return a minute's open and the unit in which it is written, the same in all of a file."""
    if text.isascii() and text.isdecimal():
        number = int(text)
        unit, nanoseconds = next(
            ((name, size) for name, size, most in _UNITS if number < most), ("", 0)
        )
        time_ms, rest = divmod(number * nanoseconds, 10**6)
    else:
        unit = _ISO
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadRowError(f"{text!r} is not a time") from error
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        time_ms, left = divmod(aware - _EPOCH, timedelta(milliseconds=1))
        rest = left // timedelta(microseconds=1)
    if not _FIRST_MS <= time_ms < _LAST_MS:
        raise BadRowError(f"{text!r} is not a time from 2001 to 2099")
    if rest or time_ms % MINUTE_MS:
        raise BadRowError(f"{text!r} is not the beginning of a minute")
    if expected not in (None, unit):
        raise BadRowError(f"its time is in {unit}, those before are in {expected}")
    return time_ms, unit


def _amounts(cells: Sequence[str], symbol: str) -> list[Decimal]:
    if len(cells) != _CELLS:
        raise BadRowError(f"it has {len(cells)} cells, not {_CELLS}")
    row = [_amount(name, cell) for name, cell in zip(_HEADER, cells[1:], strict=True)]
    if min(row[:VOLUME]) <= 0:
        raise BadRowError("a price is not more than 0")
    if row[VOLUME] < 0:
        raise BadRowError("the volume is less than 0")
    if row[HIGH] < row[LOW]:
        raise BadRowError("the high is below the low")
    if not row[LOW] <= min(row[OPEN], row[CLOSE]) <= max(row[OPEN], row[CLOSE]) <= row[HIGH]:
        raise BadRowError("open and close are not between low and high")
    if symbol.endswith(PERPETUAL_SUFFIX):
        # Perpetual files give the volume in quote currency.
        base = EXACT.divide(row[VOLUME], row[CLOSE])
        row[VOLUME] = EXACT.quantize(base, _PERPETUAL_QUANTUM)
    return row


def _amount(name: str, cell: str) -> Decimal:
    try:
        amount = Decimal(cell.strip())
    except InvalidOperation as error:
        raise BadRowError(f"{name} {cell!r} is not a number") from error
    if not amount.is_finite():
        raise BadRowError(f"{name} {cell!r} is not a number")
    if abs(amount) >= _MOST_AMOUNT or decimals_of(amount) > _MOST_DECIMALS:
        raise BadRowError(f"{name} {cell!r} has too many digits")
    return amount


def _refuse_contradictions(
    parts: Iterable[_Part],
    order: IntArray,
    repeated: Iterable[int],
    times: IntArray,
    values: IntArray,
) -> None:
    """Refuse a row that shows the minute of the row before it (by time) differently."""
    for index in repeated:
        if (values[index] != values[index - 1]).any():
            places = [(part.name, int(line)) for part in parts for line in part.lines]
            (first, first_row), (second, second_row) = (places[order[index + n]] for n in (-1, 0))
            minute = (_EPOCH + timedelta(milliseconds=int(times[index]))).isoformat()
            raise MarketDataUnusableError(
                f"{second}, row {second_row}: another candle for {minute}"
                f" than in {first}, row {first_row}"
            )


def _refuse_silence(symbol: str, times: IntArray) -> None:
    gaps = np.diff(times)
    if gaps.size and int(gaps.max()) > MOST_GAP_DAYS * DAY_MS:
        end_ms = int(times[int(gaps.argmax())])
        minute = (_EPOCH + timedelta(milliseconds=end_ms)).isoformat()
        raise MarketDataUnusableError(
            f"{symbol} has no candle for more than {MOST_GAP_DAYS} days after {minute}"
        )
