from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.indicators import Ohlcv
from domain.markets import Candle, FeeRates
from domain.positions import Direction
from domain.strategies.apex import (
    DEFAULT_CONFIG,
    STRATEGY,
    STRATEGY_VERSION,
    WINDOW,
    ApexConfig,
    Evaluation,
    evaluate,
)
from domain.strategies.apex.evaluation import (
    FILTER_CONDITIONS,
    SCORE_PARTS,
    _is_engulfing,
    _is_hammer,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)

LoadBars = Callable[[str], Sequence[Candle]]


def wandering_bars(seed: int, size: int = WINDOW, drift: float = 0.0) -> list[Candle]:
    source = random.Random(seed)
    price = 1000.0
    bars = []
    for index in range(size):
        opened = price
        closed = opened + source.gauss(drift, 2)
        high = max(opened, closed) + abs(source.gauss(0, 1))
        low = min(opened, closed) - abs(source.gauss(0, 1))
        figures = (opened, high, low, closed, source.uniform(1, 3))
        bars.append(
            Candle(START + index * FIVE_MINUTES, *(Decimal(f"{figure:.2f}") for figure in figures))
        )
        price = float(bars[-1].close)
    return bars


def mirrored(bars: Sequence[Candle]) -> list[Candle]:
    """The same market upside down."""
    pivot = Decimal(10_000)
    return [
        replace(
            bar,
            open=pivot - bar.open,
            high=pivot - bar.low,
            low=pivot - bar.high,
            close=pivot - bar.close,
        )
        for bar in bars
    ]


def evaluated(bars: Sequence[Candle], config: ApexConfig = DEFAULT_CONFIG) -> Evaluation:
    evaluation = evaluate(bars, config)
    assert evaluation is not None
    return evaluation


def allowed(direction: Direction) -> Evaluation:
    sign = direction.sign
    for seed in range(200):
        evaluation = evaluated(wandering_bars(seed, drift=0.15 * sign))
        if evaluation.side is direction:
            return evaluation
    raise AssertionError("No seed gives an allowed side")


def test_fewer_bars_than_the_window_are_not_evaluated() -> None:
    assert evaluate(wandering_bars(1, WINDOW - 1)) is None


def test_only_the_last_window_counts() -> None:
    bars = wandering_bars(2, WINDOW + 50)
    assert evaluate(bars) == evaluate(bars[-WINDOW:])


def test_an_evaluation_names_its_bar_and_its_rules() -> None:
    bars = wandering_bars(3)
    evaluation = evaluated(bars)
    assert evaluation.opened_at == bars[-1].opened_at
    assert evaluation.closed_at == bars[-1].opened_at + FIVE_MINUTES
    assert evaluation.close == bars[-1].close
    assert evaluation.strategy == STRATEGY == "APEX_V72"
    assert evaluation.code_version == STRATEGY_VERSION
    assert evaluation.config_hash == DEFAULT_CONFIG.config_hash
    assert set(evaluation.long_filter) == set(evaluation.short_filter) == set(FILTER_CONDITIONS)


@pytest.mark.parametrize("direction", list(Direction))
def test_an_allowed_side_is_scored_by_its_parts(direction: Direction) -> None:
    evaluation = allowed(direction)
    assert set(evaluation.score_parts) == set(SCORE_PARTS)
    assert evaluation.score == sum(evaluation.score_parts.values())
    assert evaluation.calls_for(evaluation.score) is direction
    assert evaluation.calls_for(evaluation.score + 1) is None
    assert str(direction) in evaluation.reason


def test_no_allowed_side_means_no_score_and_a_reason() -> None:
    evaluation = next(
        found for seed in range(50) if (found := evaluated(wandering_bars(seed))).side is None
    )
    assert evaluation.score == 0
    assert not evaluation.score_parts
    assert evaluation.calls_for(3) is None
    assert "missing" in evaluation.reason


@pytest.mark.parametrize("seed", range(60))
def test_long_and_short_rules_are_mirror_images(seed: int) -> None:
    # A pullback is relative to the price level, which mirroring changes: switch it off.
    config = replace(DEFAULT_CONFIG, pullback_rate=-1.0)
    bars = wandering_bars(seed, drift=0.15)
    upright, upside_down = evaluated(bars, config), evaluated(mirrored(bars), config)
    assert upright.long_filter == upside_down.short_filter
    assert upright.short_filter == upside_down.long_filter
    assert upright.score_parts == upside_down.score_parts
    if upright.side is not None:
        assert upside_down.side is upright.side.opposite


@pytest.mark.parametrize("direction", list(Direction))
def test_a_record_survives_json(direction: Direction) -> None:
    evaluation = allowed(direction)
    record = json.loads(json.dumps(evaluation.to_record(), allow_nan=False))
    assert Evaluation.from_record(record) == evaluation


def test_a_day_without_volume_allows_nothing() -> None:
    silent = [replace(bar, volume=Decimal(0)) for bar in wandering_bars(4)]
    evaluation = evaluated(silent)
    assert evaluation.side is None
    assert evaluation.inputs["vwap"] is None
    json.dumps(evaluation.to_record(), allow_nan=False)


def test_bars_out_of_order_are_a_mistake() -> None:
    bars = wandering_bars(5)
    bars[10], bars[11] = bars[11], bars[10]
    with pytest.raises(ValueError, match="ascending"):
        evaluate(bars)


def with_hole(bars_after: int, length: timedelta) -> list[Candle]:
    """Bars whose last `bars_after` come after a hole of `length` without candles."""
    bars = wandering_bars(6)
    late = [replace(bar, opened_at=bar.opened_at + length) for bar in bars[-bars_after:]]
    return bars[:-bars_after] + late


@pytest.mark.parametrize(
    ("bars_after", "length", "since", "blocks"),
    [
        (1, timedelta(minutes=65), 1, True),
        (12, timedelta(hours=7), 12, True),
        (13, timedelta(hours=7), 13, False),
        (5, timedelta(minutes=60), None, False),
        (299, timedelta(hours=2), 299, False),
    ],
)
def test_entries_wait_twelve_bars_after_a_hole_longer_than_an_hour(
    bars_after: int, length: timedelta, since: int | None, blocks: bool
) -> None:
    evaluation = evaluated(with_hole(bars_after, length))
    assert evaluation.bars_since_hole == since
    assert evaluation.hole_blocks_entry is blocks


def test_the_latest_of_two_holes_counts() -> None:
    bars = with_hole(40, timedelta(hours=3))
    bars[-4:] = [replace(bar, opened_at=bar.opened_at + timedelta(hours=2)) for bar in bars[-4:]]
    assert evaluated(bars).bars_since_hole == 4


def two_bars(*prices: tuple[int, int, int, int]) -> Ohlcv:
    """Bars of open, high, low, close."""
    opens, highs, lows, closes = (
        [float(value) for value in side] for side in zip(*prices, strict=True)
    )
    return Ohlcv([], opens, highs, lows, closes, [])


@pytest.mark.parametrize(
    ("previous", "bar", "is_engulfing"),
    [
        ((105, 106, 99, 100), (99, 108, 98, 106), True),
        ((105, 106, 99, 100), (100, 108, 98, 106), True),  # opens exactly where the other closed
        ((105, 106, 99, 100), (101, 108, 98, 106), False),  # opens inside the previous body
        ((105, 106, 99, 100), (99, 108, 98, 105), False),  # closes at, not beyond, its open
        ((100, 106, 99, 105), (99, 108, 98, 106), False),  # same colour
    ],
)
def test_engulfing(
    previous: tuple[int, int, int, int], bar: tuple[int, int, int, int], is_engulfing: bool
) -> None:
    assert _is_engulfing(two_bars(previous, bar), 1) is is_engulfing


@pytest.mark.parametrize(
    ("bar", "is_hammer"),
    [
        ((100, 103, 90, 102), True),
        ((102, 103, 90, 100), False),  # red
        ((100, 100, 90, 100), False),  # no body
        ((100, 106, 90, 105), False),  # wick of two bodies exactly
        ((100, 111, 90, 102), False),  # wick below 60 % of the range
    ],
)
def test_hammer(bar: tuple[int, int, int, int], is_hammer: bool) -> None:
    assert _is_hammer(two_bars(bar, bar), 1, DEFAULT_CONFIG) is is_hammer


def test_equal_parameters_have_equal_hashes_and_others_do_not() -> None:
    same = replace(DEFAULT_CONFIG, stop_multiple=Decimal("1.50"), adx_minimum=20)
    assert same.config_hash == DEFAULT_CONFIG.config_hash
    assert replace(DEFAULT_CONFIG, adx_minimum=21).config_hash != DEFAULT_CONFIG.config_hash
    assert len(DEFAULT_CONFIG.config_hash) == 12


def test_the_default_hash_is_stable() -> None:
    # Changing a parameter or a rule is a new version: bump STRATEGY_VERSION, then this.
    assert (STRATEGY_VERSION, DEFAULT_CONFIG.config_hash) == ("7.2.0", "8bc6e739c7ab")


def test_a_config_that_cannot_close_a_position_is_refused() -> None:
    thirds = (Decimal("0.3"), Decimal("0.3"), Decimal("0.3"))
    with pytest.raises(ValueError, match="sum to one"):
        replace(DEFAULT_CONFIG, target_fractions=thirds)


# -- measured on real candles -----------------------------------------------------------------


def passes_reward_rule(evaluation: Evaluation, taker_rate: str) -> bool:
    """The published rule, written out: (T3 - c) / (R + c) >= 1.5."""
    fee = FeeRates(Decimal(0), Decimal(taker_rate)).round_trip_rate
    risk = Decimal("1.5") * evaluation.atr / evaluation.close
    target = max(3 * risk, Decimal("2.5") * fee)
    return (target - fee) / (risk + fee) >= Decimal("1.5")


@pytest.mark.parametrize(
    ("name", "calls", "worth_it"),
    [
        ("coinbase-BTC-USD-1m-2018-04-04", 2, 2),
        ("coinbase-ETH-USD-1m-2018-04-04", 6, 6),
        ("coinbase-LTC-USD-1m-2018-04-04", 6, 6),
        ("BTC-PERP-1m-2022-01", 318, 147),
    ],
)
def test_real_bars_that_call_for_a_long(
    name: str, calls: int, worth_it: int, load_bars: LoadBars
) -> None:
    bars = load_bars(f"{name}.csv.gz")
    calling = [
        evaluation
        for end in range(WINDOW, len(bars) + 1)
        if (evaluation := evaluated(bars[end - WINDOW : end])).calls_for(3) is Direction.LONG
    ]
    assert len(calling) == calls
    assert sum(passes_reward_rule(evaluation, "0.001") for evaluation in calling) == worth_it
    assert not any(passes_reward_rule(evaluation, "0.006") for evaluation in calling)
