"""Parameters of APEX V7.2, their published defaults, and the hash that names a set of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache

from domain.markets import Timeframe

STRATEGY = "APEX_V72"

STRATEGY_VERSION = "7.2.0"
"""Version of the rules in this package; it changes whenever a rule does."""

BAR = Timeframe.M5
WINDOW = 300
"""Closed candles that every evaluation sees: exactly as many live, on paper and in backtests."""

_HASH_LENGTH = 12


@dataclass(frozen=True, slots=True)
class ApexConfig:
    """All parameters. Periods are in bars, rates are fractions, multiples are of ATR.

    Attributes:
        adx_minimum: the trend filter needs an ADX above this.
        volume_filter_bars: the filter compares a bar's volume with the mean of this many bars,
            itself included.
        volume_filter_ratio: lowest ratio that passes the filter.
        pullback_rate: how far the price may be from the middle EMA or VWAP to count as a pullback.
        long_rsi: RSI window (inclusive) of the long score; the RSI must be rising.
        short_rsi: RSI window (inclusive) of the short score; the RSI must be falling.
        hammer_body_multiple: the wick of a hammer is longer than this many bodies.
        hammer_wick_rate: and more than this share of the bar's range.
        volume_score_bars: the score compares a bar's volume with the mean of this many bars before
            it.
        volume_score_ratio: lowest ratio that scores.
        hole_minutes: a longer gap between two candles is a hole.
        bars_after_hole: bars after a hole in which nothing may be entered.
        stop_multiple: distance of the stop, which is 1 R.
        trail_multiple: distance of the trailing stop under the highest close.
        target_multiples: targets in R.
        target_fractions: share of the original quantity that each target closes; they sum to one.
        minimum_target_fees: a target nearer than this many round-trip fees is moved out to them.
        minimum_reward: least (T3 - c) / (R + c), c being the round-trip fee rate.
        slippage_rate: how far beyond the decision price an entry may fill.
        score_size_rates: largest notional as a fraction of equity, by score.
        signal_size_rate: the same for an outside signal, which has no score.
    """

    ema_fast: int = 9
    ema_middle: int = 21
    ema_slow: int = 50
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    rsi_period: int = 14
    adx_period: int = 14
    atr_period: int = 14
    adx_minimum: float = 20.0
    volume_filter_bars: int = 5
    volume_filter_ratio: float = 0.5
    pullback_rate: float = 0.005
    long_rsi: tuple[float, float] = (40.0, 65.0)
    short_rsi: tuple[float, float] = (35.0, 60.0)
    hammer_body_multiple: float = 2.0
    hammer_wick_rate: float = 0.6
    volume_score_bars: int = 2
    volume_score_ratio: float = 0.6
    hole_minutes: int = 60
    bars_after_hole: int = 12
    stop_multiple: Decimal = Decimal("1.5")
    trail_multiple: Decimal = Decimal("1.5")
    target_multiples: tuple[Decimal, Decimal, Decimal] = (Decimal(1), Decimal(2), Decimal(3))
    target_fractions: tuple[Decimal, Decimal, Decimal] = (
        Decimal("0.4"),
        Decimal("0.3"),
        Decimal("0.3"),
    )
    minimum_target_fees: Decimal = Decimal("2.5")
    minimum_reward: Decimal = Decimal("1.5")
    slippage_rate: Decimal = Decimal("0.002")
    score_size_rates: tuple[tuple[int, Decimal], ...] = (
        (3, Decimal("0.03")),
        (4, Decimal("0.04")),
        (5, Decimal("0.05")),
    )
    signal_size_rate: Decimal = Decimal("0.05")

    def __post_init__(self) -> None:
        if sum(self.target_fractions) != 1:
            raise ValueError("Target fractions must sum to one")
        if list(self.target_multiples) != sorted(self.target_multiples):
            raise ValueError("Targets must be in ascending order")

    def size_rate(self, score: int | None) -> Decimal:
        """Largest notional as a fraction of equity; a score too low for any size gives zero."""
        if score is None:
            return self.signal_size_rate
        return max(
            (rate for least, rate in self.score_size_rates if score >= least), default=Decimal(0)
        )

    @property
    def config_hash(self) -> str:
        """Short hex digest of parameters and rules version: equal hashes mean equal decisions."""
        return _hash(self)


@lru_cache
def _hash(config: ApexConfig) -> str:
    parameters = {field.name: _canonical(getattr(config, field.name)) for field in fields(config)}
    text = json.dumps({"strategy_version": STRATEGY_VERSION, **parameters}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def _canonical(value: object) -> object:
    """JSON form in which equal parameters look equal (20, 20.0 and 20.00 are one number)."""
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    return format(Decimal(str(value)).normalize(), "f")


DEFAULT_CONFIG = ApexConfig()
