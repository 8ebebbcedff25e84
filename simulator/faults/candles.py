"""Candles as the venue lists them under faults: late, missing, revised, malformed. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from simulator.faults.kinds import Kind
from simulator.faults.plan import Hit


@dataclass(frozen=True, slots=True)
class ListedCandle:
    """One candle as listed; the cells of a malformed one are not numbers at all.

    Attributes:
        open_ms: UTC milliseconds of its open.
        close_ms: Of its close.
    """

    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    malformed: Mapping[str, Any]
    """Cells that are listed as they stand here, by name."""


def shown_candles(
    candles: Sequence[ListedCandle],
    product_id: str,
    hits: Sequence[Hit],
    now_ms: int,
    round_price: Callable[[Decimal], Decimal],
) -> list[ListedCandle]:
    """Return the candles as the venue lists them at `now_ms`."""
    shown: list[ListedCandle] = []
    for candle in candles:
        listed: ListedCandle | None = candle
        for hit in hits:
            if listed is not None and _acts(hit, candle, product_id, now_ms):
                listed = _EFFECTS[hit.kind](listed, hit, round_price)
        if listed is not None:
            shown.append(listed)
    return shown


def _acts(hit: Hit, candle: ListedCandle, product_id: str, now_ms: int) -> bool:
    duration = hit.milliseconds()
    is_due = duration is None or now_ms < candle.close_ms + duration
    return is_due and hit.meets(product_id, candle.open_ms, candle.close_ms)


def _absent(_: ListedCandle, __: Hit, ___: Callable[[Decimal], Decimal]) -> None:
    return None


def _revised(
    candle: ListedCandle, hit: Hit, round_price: Callable[[Decimal], Decimal]
) -> ListedCandle:
    """Return what is listed before the revision: another close, and half of the volume."""
    close = max(
        round_price(candle.close * (1 + Decimal(hit.text("percent")) / 100)),
        round_price(candle.low),
    )
    return replace(
        candle,
        close=close,
        high=max(candle.high, close),
        low=min(candle.low, close),
        volume=candle.volume / 2,
    )


def _malformed(candle: ListedCandle, hit: Hit, _: Callable[[Decimal], Decimal]) -> ListedCandle:
    forms: dict[str, dict[str, Any]] = {
        "low_zero": {"low": "0"},
        "high_below_low": {"high": f"{candle.low:f}", "low": f"{candle.high + 1:f}"},
        "empty_cell": {"close": ""},
        "not_a_number": {"close": "NaN"},
        "null_cell": {"high": None},
    }
    return replace(candle, malformed=forms[hit.text("form")])


_EFFECTS: Final[
    Mapping[Kind, Callable[[ListedCandle, Hit, Callable[[Decimal], Decimal]], ListedCandle | None]]
] = {
    Kind.CANDLE_LATE: _absent,
    Kind.CANDLE_MISSING: _absent,
    Kind.CANDLE_REVISED: _revised,
    Kind.CANDLE_MALFORMED: _malformed,
}
