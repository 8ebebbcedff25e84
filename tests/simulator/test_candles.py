import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.market.candles import (
    MINUTE_MS,
    Candle,
    aggregate,
    candle_of,
    decimal_of,
    path,
    text_of,
    units_of,
)

STEP = 1_000_000
VOLUME_STEP = 10


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    prices = draw(st.lists(st.integers(1, 10_000), min_size=4, max_size=4))
    first, last = draw(st.permutations(prices))[:2]
    volume = draw(st.integers(0, 10**12))
    return Candle(
        5 * MINUTE_MS, first * STEP, max(prices) * STEP, min(prices) * STEP, last * STEP, volume
    )


@given(candles())
def test_path_makes_exactly_its_candle(candle: Candle) -> None:
    ticks = path(candle, STEP, VOLUME_STEP)

    assert candle_of(candle.open_ms, ticks) == candle
    assert all(tick.price % STEP == 0 for tick in ticks)


@given(candles())
def test_path_stays_strictly_inside_its_minute(candle: Candle) -> None:
    times = [tick.time_ms for tick in path(candle, STEP, VOLUME_STEP)]

    assert times == sorted(set(times))
    assert candle.open_ms < times[0]
    assert times[-1] < candle.open_ms + MINUTE_MS


@given(candles())
def test_rising_candle_goes_down_first(candle: Candle) -> None:
    prices = [tick.price for tick in path(candle, STEP, VOLUME_STEP)]

    low_is_first = prices.index(candle.low) <= prices.index(candle.high)
    if candle.high > candle.low and candle.close != candle.open:
        assert low_is_first == (candle.close >= candle.open) or candle.open in (
            candle.high,
            candle.low,
        )


def test_aggregate_skips_silent_minutes() -> None:
    minutes = np.array(
        [
            [0, 0, 0, 0, 0],
            [10, 14, 9, 12, 5],
            [12, 13, 7, 8, 2],
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ]
    )

    assert aggregate(minutes, 3).tolist() == [[10, 14, 7, 8, 7], [0, 0, 0, 0, 0]]


@given(st.integers(0, 10**17))
def test_units_are_exact(units: int) -> None:
    assert units_of(text_of(units)) == units
    assert units_of(decimal_of(units)) == units


def test_text_has_no_trailing_zeros() -> None:
    assert [text_of(n) for n in (0, 5, 150_000_000, 200_000_000)] == ["0", "0.00000005", "1.5", "2"]
