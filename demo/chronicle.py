"""What happened since the last look, told in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from demo.books import Fill
from domain.strategies.apex import BAR

_CONDITIONS = {
    "price_vs_vwap": "vwap",
    "ema_order": "ema",
    "macd_histogram": "macd",
    "adx": "adx",
    "volume": "volume",
}
_REFUSALS = {"short_not_supported": "calls for a short", "position_exists": "is held"}


class Kind(StrEnum):
    """What sort of thing happened; it decides how it looks."""

    QUIET = "quiet"
    DECISION = "decision"
    FILL = "fill"
    STOP = "stop"
    GAIN = "gain"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, at a venue time."""

    at: datetime
    kind: Kind
    text: str


class Chronicle:
    """Remembers what has been told already."""

    def __init__(self) -> None:
        self._told_fills: set[str] = set()
        self._told_trades: set[str] = set()
        self._stops: dict[str, Decimal] = {}

    @property
    def has_told_a_trade(self) -> bool:
        """Whether a closed trade was told of."""
        return bool(self._told_trades)

    def new_fills(self, fills: Iterable[Fill]) -> list[Fill]:
        """Those not told yet, which from now on count as told."""
        new = [fill for fill in fills if fill.trade_id not in self._told_fills]
        self._told_fills |= {fill.trade_id for fill in new}
        return new

    def tell(
        self,
        now: datetime,
        fills: Sequence[Fill],
        positions: Sequence[Mapping[str, Any]],
        trades: Sequence[Mapping[str, Any]],
    ) -> Iterator[Event]:
        """Fills, closed trades and moved stops, in this order."""
        held = {position["symbol"]: position for position in positions}
        for symbol, is_buy in sorted({(fill.symbol, fill.is_buy) for fill in fills}):
            same = [fill for fill in fills if (fill.symbol, fill.is_buy) == (symbol, is_buy)]
            yield Event(now, Kind.FILL, _fill_sentence(same, held.get(symbol)))
        for trade in trades:
            if trade["status"] == "closed" and trade["trade_id"] not in self._told_trades:
                self._told_trades.add(trade["trade_id"])
                is_win = trade["net_pnl"] > 0
                yield Event(now, Kind.GAIN if is_win else Kind.LOSS, _trade_sentence(trade))
        yield from self._moved_stops(now, positions)

    def _moved_stops(
        self, now: datetime, positions: Sequence[Mapping[str, Any]]
    ) -> Iterator[Event]:
        before, self._stops = (
            self._stops,
            {one["position_id"]: Decimal(str(one["stop_loss"])) for one in positions},
        )
        for position in positions:
            stop = self._stops[position["position_id"]]
            was = before.get(position["position_id"], stop)
            if stop != was:
                locked = "above" if stop > position["entry_price"] else "below"
                yield Event(
                    now,
                    Kind.STOP,
                    f"{position['symbol']}: stop moved {was} -> {stop}, {locked} the entry",
                )


def decided(now: datetime, decisions: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    """What the bot made of the bars that closed just now: entries first, then one quiet line."""
    bar_at = BAR.floor(now) - BAR.length
    newest = [
        one
        for one in decisions
        if one["bar_at"] is not None and datetime.fromisoformat(one["bar_at"]) == bar_at
    ]
    entries = [one for one in newest if one["action"].startswith("enter")]
    for entry in entries:
        yield Event(now, Kind.DECISION, _entry_sentence(entry))
    others = [f"{one['symbol'].partition('-')[0]} {_why_not(one)}" for one in newest]
    quiet = [text for one, text in zip(newest, others, strict=True) if one not in entries]
    if quiet:
        yield Event(now, Kind.QUIET, "no entry: " + "; ".join(quiet))


def _entry_sentence(decision: Mapping[str, Any]) -> str:
    parts = (decision["evaluation"] or {}).get("score_parts", {})
    scored = ", ".join(name for name, given in parts.items() if given)
    passed = sum(gate["passed"] for gate in decision["gates"])
    direction = decision["action"].removeprefix("enter_")
    return (
        f"{decision['symbol']}: enter {direction}, score {decision['score']} of 5 "
        f"({scored}), {passed} of {len(decision['gates'])} gates passed"
    )


def _why_not(decision: Mapping[str, Any]) -> str:
    reason = str(decision["reason"])
    if reason in _REFUSALS:
        return _REFUSALS[reason]
    failed = next((gate for gate in decision["gates"] if not gate["passed"]), None)
    if failed is not None:
        return str(failed["detail"])
    long_filter = (decision["filter"] or {}).get("long") or {}
    missing = [_CONDITIONS.get(name, name) for name, met in long_filter.items() if not met]
    if reason == "no_setup" and missing:
        return f"lacks {', '.join(missing)}"
    return reason.replace("_", " ")


def _fill_sentence(fills: Sequence[Fill], position: Mapping[str, Any] | None) -> str:
    size = sum((fill.size for fill in fills), Decimal(0))
    notional = sum((fill.notional for fill in fills), Decimal(0))
    fee = sum((fill.fee for fill in fills), Decimal(0))
    verb = "bought" if fills[0].is_buy else "sold"
    done = (
        f"{fills[0].symbol}: {verb} {size.normalize():f} at {notional / size:.2f} "
        f"for {notional:.2f} USD, fee {fee:.4f}"
    )
    if fills[0].is_buy and position is not None:
        return f"{done}; stop {position['stop_loss']}, first target {position['take_profit']}"
    return done if position is None else f"{done}; {position['quantity']} left"


def _trade_sentence(trade: Mapping[str, Any]) -> str:
    reason = str(trade["exit_reason"]).replace("_", " ")
    return (
        f"{trade['symbol']}: trade closed by {reason} after {trade['duration_minutes']} minutes, "
        f"net {trade['net_pnl']:+.2f} USD"
    )
