"""What APEX makes of a window of closed candles: filter, score, and the figures behind them.

Indicators are computed in binary floating point (they are statistics, not money); the two figures
that prices are made of, close and ATR, leave as Decimal: the close untouched, the ATR by
`domain.money.from_float`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from domain.indicators import Ohlcv, adx, atr, ema, macd, rsi, session_vwap
from domain.markets import Candle
from domain.money import from_float
from domain.positions import Direction
from domain.strategies.apex.config import (
    BAR,
    DEFAULT_CONFIG,
    STRATEGY,
    STRATEGY_VERSION,
    WINDOW,
    ApexConfig,
)

FILTER_CONDITIONS = ("price_vs_vwap", "ema_order", "macd_histogram", "adx", "volume")
SCORE_PARTS = ("pullback", "rsi", "candle", "momentum", "volume")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One bar's evaluation, complete enough to explain and to reproduce it.

    Attributes:
        strategy: name of the strategy.
        config_hash: names parameters and rules version.
        code_version: version of the rules.
        opened_at: open time of the bar.
        closed_at: close time of the bar.
        close: the bar's close.
        atr: average true range in the quote currency.
        side: the direction whose filter holds, or None.
        long_filter: conditions of the long filter by name.
        short_filter: conditions of the short filter by name.
        score: points of the allowed side (0 to 5); 0 where no side is allowed.
        score_parts: the points by name; empty where no side is allowed.
        inputs: raw figures; None where a figure does not exist (no volume traded on the day).
        bars_since_hole: position of the bar after the latest hole in the window (1 is the first bar
            after it), or None.
        hole_blocks_entry: whether that is too recent to enter.
        reason: one sentence for people.
    """

    strategy: str
    config_hash: str
    code_version: str
    opened_at: datetime
    closed_at: datetime
    close: Decimal
    atr: Decimal
    side: Direction | None
    long_filter: Mapping[str, bool]
    short_filter: Mapping[str, bool]
    score: int
    score_parts: Mapping[str, bool]
    inputs: Mapping[str, float | None]
    bars_since_hole: int | None
    hole_blocks_entry: bool
    reason: str

    def calls_for(self, entry_score: int) -> Direction | None:
        """The direction that filter and score call for at a risk level's entry score."""
        return self.side if self.score >= entry_score else None

    def to_record(self) -> dict[str, Any]:
        """JSON form; decimals and times as strings, indicator figures as numbers."""
        return {
            "strategy": self.strategy,
            "config_hash": self.config_hash,
            "code_version": self.code_version,
            "opened_at": self.opened_at.isoformat(),
            "closed_at": self.closed_at.isoformat(),
            "close": str(self.close),
            "atr": str(self.atr),
            "side": self.side.value if self.side else None,
            "long_filter": dict(self.long_filter),
            "short_filter": dict(self.short_filter),
            "score": self.score,
            "score_parts": dict(self.score_parts),
            "inputs": dict(self.inputs),
            "bars_since_hole": self.bars_since_hole,
            "hole_blocks_entry": self.hole_blocks_entry,
            "reason": self.reason,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Evaluation:
        """Read what `to_record` wrote."""
        return cls(
            strategy=record["strategy"],
            config_hash=record["config_hash"],
            code_version=record["code_version"],
            opened_at=datetime.fromisoformat(record["opened_at"]),
            closed_at=datetime.fromisoformat(record["closed_at"]),
            close=Decimal(record["close"]),
            atr=Decimal(record["atr"]),
            side=Direction(record["side"]) if record["side"] else None,
            long_filter=dict(record["long_filter"]),
            short_filter=dict(record["short_filter"]),
            score=record["score"],
            score_parts=dict(record["score_parts"]),
            inputs=dict(record["inputs"]),
            bars_since_hole=record["bars_since_hole"],
            hole_blocks_entry=record["hole_blocks_entry"],
            reason=record["reason"],
        )


def evaluate(bars: Sequence[Candle], config: ApexConfig = DEFAULT_CONFIG) -> Evaluation | None:
    """Evaluate the newest bar of a window.

    Args:
        bars: closed five-minute candles, oldest first; exactly the last `WINDOW` of them count.
            Bars in which nothing traded are simply absent.
        config: parameters.

    Returns:
        The evaluation, or None where there are fewer than `WINDOW` bars.

    Raises:
        ValueError: the bars are not in ascending order of time.
    """
    if len(bars) < WINDOW:
        return None
    window = bars[-WINDOW:]
    market = Ohlcv.from_candles(window)
    figures = _Figures.of(market, config)
    long_filter = _filter(figures, Direction.LONG, config)
    short_filter = _filter(figures, Direction.SHORT, config)
    side = _allowed(long_filter, short_filter)
    parts = {} if side is None else _score(figures, market, side, config)
    since_hole = _bars_since_hole(window, timedelta(minutes=config.hole_minutes))
    newest = window[-1]
    return Evaluation(
        strategy=STRATEGY,
        config_hash=config.config_hash,
        code_version=STRATEGY_VERSION,
        opened_at=newest.opened_at,
        closed_at=newest.opened_at + BAR.length,
        close=newest.close,
        atr=from_float(figures.atr),
        side=side,
        long_filter=long_filter,
        short_filter=short_filter,
        score=sum(parts.values()),
        score_parts=parts,
        inputs=figures.to_inputs(),
        bars_since_hole=since_hole,
        hole_blocks_entry=since_hole is not None and since_hole <= config.bars_after_hole,
        reason=_reason(side, parts, long_filter, short_filter),
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """Indicator values of the newest bar (and the one before, where a rule compares the two)."""

    close: float
    volume: float
    vwap: float | None
    ema_fast: float
    ema_middle: float
    ema_slow: float
    macd_histogram: float
    previous_macd_histogram: float
    rsi: float
    previous_rsi: float
    adx: float
    atr: float
    mean_volume_filter: float
    mean_volume_score: float

    @classmethod
    def of(cls, market: Ohlcv, config: ApexConfig) -> _Figures:
        """Compute every indicator over the window."""
        closes, volumes = market.closes, market.volumes
        histogram = macd(closes, config.macd_fast, config.macd_slow, config.macd_signal).histogram
        strength = rsi(closes, config.rsi_period)
        before = volumes[-1 - config.volume_score_bars : -1]
        recent = volumes[-config.volume_filter_bars :]
        return cls(
            close=closes[-1],
            volume=volumes[-1],
            vwap=session_vwap(market),
            ema_fast=ema(closes, config.ema_fast)[-1],
            ema_middle=ema(closes, config.ema_middle)[-1],
            ema_slow=ema(closes, config.ema_slow)[-1],
            macd_histogram=histogram[-1],
            previous_macd_histogram=histogram[-2],
            rsi=strength[-1],
            previous_rsi=strength[-2],
            adx=adx(market, config.adx_period)[-1],
            atr=atr(market, config.atr_period)[-1],
            mean_volume_filter=sum(recent) / len(recent),
            mean_volume_score=sum(before) / len(before),
        )

    def to_inputs(self) -> dict[str, float | None]:
        """The figures by name, as the evaluation records them."""
        return {
            "close": self.close,
            "vwap": self.vwap,
            "ema_fast": self.ema_fast,
            "ema_middle": self.ema_middle,
            "ema_slow": self.ema_slow,
            "macd_histogram": self.macd_histogram,
            "previous_macd_histogram": self.previous_macd_histogram,
            "rsi": self.rsi,
            "previous_rsi": self.previous_rsi,
            "adx": self.adx,
            "atr": self.atr,
            "volume": self.volume,
            "volume_ratio_filter": _ratio(self.volume, self.mean_volume_filter),
            "volume_ratio_score": _ratio(self.volume, self.mean_volume_score),
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _filter(figures: _Figures, direction: Direction, config: ApexConfig) -> dict[str, bool]:
    """The five conditions; multiplying by the sign mirrors them for shorts."""
    sign = direction.sign
    fast, middle, slow = (
        sign * figures.ema_fast,
        sign * figures.ema_middle,
        sign * figures.ema_slow,
    )
    return {
        "price_vs_vwap": figures.vwap is not None and sign * (figures.close - figures.vwap) > 0,
        "ema_order": fast > middle > slow,
        "macd_histogram": sign * figures.macd_histogram > 0,
        "adx": figures.adx > config.adx_minimum,
        "volume": figures.volume >= config.volume_filter_ratio * figures.mean_volume_filter,
    }


def _allowed(long_filter: Mapping[str, bool], short_filter: Mapping[str, bool]) -> Direction | None:
    if all(long_filter.values()):
        return Direction.LONG
    return Direction.SHORT if all(short_filter.values()) else None


def _score(
    figures: _Figures, market: Ohlcv, direction: Direction, config: ApexConfig
) -> dict[str, bool]:
    """One point for each true part."""
    sign = direction.sign
    low, high = config.long_rsi if direction is Direction.LONG else config.short_rsi
    return {
        "pullback": any(
            level is not None and abs(figures.close - level) <= config.pullback_rate * level
            for level in (figures.ema_middle, figures.vwap)
        ),
        "rsi": low <= figures.rsi <= high and sign * (figures.rsi - figures.previous_rsi) > 0,
        "candle": _is_engulfing(market, sign) or _is_hammer(market, sign, config),
        "momentum": sign * (figures.macd_histogram - figures.previous_macd_histogram) > 0,
        "volume": figures.volume >= config.volume_score_ratio * figures.mean_volume_score,
    }


def _is_engulfing(market: Ohlcv, sign: int) -> bool:
    """The body covers the previous, opposite one: it closes beyond the previous open.

    It opens at or beyond the previous close: a market that never closes usually opens exactly
    there.
    """
    previous_open, opened = market.opens[-2:]
    previous_close, closed = market.closes[-2:]
    return (
        sign * (previous_close - previous_open) < 0
        and sign * (opened - previous_close) <= 0
        and sign * (closed - previous_open) > 0
    )


def _is_hammer(market: Ohlcv, sign: int, config: ApexConfig) -> bool:
    """A body of the right colour with a long wick on the losing side; else a shooting star."""
    opened, closed = market.opens[-1], market.closes[-1]
    high, low = market.highs[-1], market.lows[-1]
    body = sign * (closed - opened)
    wick = opened - low if sign > 0 else high - opened
    return (
        body > 0
        and wick > config.hammer_body_multiple * body
        and wick > config.hammer_wick_rate * (high - low)
    )


def _bars_since_hole(window: Sequence[Candle], hole: timedelta) -> int | None:
    """Bars from the first one after the latest hole to the newest, both included."""
    since: int | None = None
    length = BAR.length
    for index, (earlier, later) in enumerate(pairwise(window), start=1):
        step = later.opened_at - earlier.opened_at
        if step < length:
            raise ValueError("Bars must be in ascending order, one per five minutes")
        if step - length > hole:
            since = len(window) - index
    return since


def _reason(
    side: Direction | None,
    parts: Mapping[str, bool],
    long_filter: Mapping[str, bool],
    short_filter: Mapping[str, bool],
) -> str:
    if side is not None:
        scored = ", ".join(name for name, given in parts.items() if given) or "nothing"
        return f"Filter allows {side}; score {sum(parts.values())} of {len(SCORE_PARTS)} ({scored})"
    direction, conditions = max(
        ((Direction.LONG, long_filter), (Direction.SHORT, short_filter)),
        key=lambda candidate: sum(candidate[1].values()),
    )
    missing = ", ".join(name for name, met in conditions.items() if not met)
    return f"No side allowed; nearest is {direction}, missing {missing}"
