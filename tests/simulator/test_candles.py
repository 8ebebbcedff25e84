from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.exact import decimals_of, plain
from simulator.market.candles import (
    MINUTE_MS,
    Candle,
    Scale,
    aggregate,
    candle_of,
    decimal_of,
    integers,
    path,
    rescaled,
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


def test_aggregate_is_exact_beyond_sixty_four_bits() -> None:
    row = [10**21, 3 * 10**21, 1, 2 * 10**21, 10**22]
    minutes = integers([row] * 3)

    assert minutes.dtype == object
    assert aggregate(minutes, 3).tolist() == [[10**21, 3 * 10**21, 1, 2 * 10**21, 3 * 10**22]]


@given(st.decimals(0, 10**18, places=18))
def test_units_are_exact(amount: Decimal) -> None:
    units = units_of(plain(amount), 18)

    assert decimal_of(units, 18) == amount
    assert units_of(decimal_of(units, 18), 18) == units


def test_units_never_drop_a_digit() -> None:
    with pytest.raises(ValueError, match="more than 8 digits"):
        units_of("0.000000001", 8)


def test_rescaling_changes_the_units_only() -> None:
    old, new = Scale(2, 0), Scale(4, 3)

    assert rescaled(integers([[123, 124, 122, 123, 5]]), old, new).tolist() == [
        [12_300, 12_400, 12_200, 12_300, 5_000]
    ]


@pytest.mark.parametrize(
    ("amount", "text", "decimals"),
    [
        ("0", "0", 0),
        ("1E+30", "1" + "0" * 30, 0),
        ("1E-18", "0.000000000000000001", 18),
        ("1.500", "1.5", 1),
        ("200", "200", 0),
        ("-0.50", "-0.5", 1),
        ("1234567890123456789012.123456789012345678", None, 18),
    ],
)
def test_plain_text(amount: str, text: str | None, decimals: int) -> None:
    assert plain(Decimal(amount)) == (text or amount)
    assert decimals_of(Decimal(amount)) == decimals
