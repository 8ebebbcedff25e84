"""Real candles for tests that compare with measured figures, and how hypothesis runs here."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from domain.markets import Candle, Timeframe

# Shared machines are slow at times, which is no property of the code.
settings.register_profile("domain", deadline=None)
settings.load_profile("domain")

LoadBars = Callable[[str], Sequence[Candle]]


@cache
def five_minute_bars(path: Path) -> tuple[Candle, ...]:
    """One-minute rows merged into five-minute candles; minutes without a trade have no row."""
    bars: dict[datetime, Candle] = {}
    with gzip.open(path, "rt", encoding="ascii") as file:
        for row in csv.DictReader(file):
            minute = datetime.fromtimestamp(int(row["time_ms"]) // 1000, UTC)
            opened_at = Timeframe.M5.floor(minute)
            first = bars.get(opened_at)
            high, low, volume = (Decimal(row[name]) for name in ("high", "low", "volume"))
            bars[opened_at] = Candle(
                opened_at=opened_at,
                open=first.open if first else Decimal(row["open"]),
                high=max(first.high, high) if first else high,
                low=min(first.low, low) if first else low,
                close=Decimal(row["close"]),
                volume=first.volume + volume if first else volume,
            )
    return tuple(bars.values())


@pytest.fixture(scope="session")
def load_bars() -> LoadBars:
    folder = os.environ.get("NIJA_MARKET_DATA_DIR")
    if not folder:
        pytest.skip("NIJA_MARKET_DATA_DIR is unset: no real candles to compare with")
    return lambda name: five_minute_bars(Path(folder) / name)
