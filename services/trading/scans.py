"""One look at a venue on behalf of one run: the new bars and what they are judged with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domain.markets import FeeRates, MarketRules, VenueClock
from domain.strategies.apex import BAR
from services.markets.evaluating import StoredEvaluation
from services.trading.context import RunContext


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What only entries need of a venue; trailing and exits do without.

    Attributes:
        rules: of every market; None where they could not be had.
        fees: of the account's own tier; None where they could not be had.
        keys_refused: the venue does not take the account's keys.
        problem: what could not be had, for people.
    """

    rules: Mapping[str, MarketRules] | None = None
    fees: FeeRates | None = None
    keys_refused: bool = False
    problem: str | None = None

    def missing(self, symbol: str) -> str | None:
        """Why no entry in a market can be judged; a reason code."""
        if self.rules is None:
            return "rules_unavailable"
        if symbol not in self.rules:
            return "unknown_symbol"
        if self.fees is None:
            return "keys_refused" if self.keys_refused else "fees_unavailable"
        return None


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found of a venue for one run.

    Attributes:
        bars: every new bar, oldest first.
        errors: what could not be had, by symbol.
        knows_newest: whether the clock tells which bar is the newest: not where it was reckoned
            from what others saw of it.
    """

    context: RunContext
    clock: VenueClock
    facts: EntryFacts
    bars: tuple[tuple[str, StoredEvaluation], ...]
    errors: Mapping[str, str]
    knows_newest: bool = True

    def is_newest(self, stored: StoredEvaluation) -> bool:
        """Whether a bar is, for all that is known, the last one that can have closed."""
        return self.knows_newest and stored.opened_at + BAR.length * 2 > self.clock.now


def cause_of(symbol: str, stored: StoredEvaluation) -> str:
    """What a bar's decision and orders are caused by; unique in a run."""
    return f"bar:{symbol}:{stored.opened_at.isoformat()}"
