"""One look at a venue on behalf of one run: the new bars and what they are judged with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domain.markets import FeeRates, MarketRules, VenueClock
from domain.strategies.apex import BAR
from services.markets.evaluating import StoredEvaluation
from services.trading.context import RunContext


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at a venue found for one run."""

    context: RunContext
    clock: VenueClock
    rules: Mapping[str, MarketRules]
    fees: FeeRates
    bars: tuple[tuple[str, StoredEvaluation], ...]
    error: str | None

    def is_newest(self, stored: StoredEvaluation) -> bool:
        """Whether a bar is the last one that can have closed by the venue's clock."""
        return stored.opened_at + BAR.length * 2 > self.clock.now


def cause_of(symbol: str, stored: StoredEvaluation) -> str:
    """What a bar's decision and orders are caused by; unique in a run."""
    return f"bar:{symbol}:{stored.opened_at.isoformat()}"
