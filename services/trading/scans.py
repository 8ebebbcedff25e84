"""One look at a venue on behalf of one run: the new bars and what they are judged with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

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
class MissedBar:
    """The first bar that a position of a run could not be managed on (`opened_at`)."""

    position_id: UUID
    symbol: str
    opened_at: datetime

    def to_record(self) -> dict[str, str]:
        """As the run's row has it."""
        return {
            "position_id": str(self.position_id),
            "symbol": self.symbol,
            "opened_at": self.opened_at.isoformat(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> MissedBar:
        """Read it from the run's row."""
        opened_at = datetime.fromisoformat(record["opened_at"])
        return cls(UUID(record["position_id"]), record["symbol"], opened_at)


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found of a venue for one run.

    Attributes:
        bars: every new bar, oldest first.
        errors: what could not be had, by symbol.
        knows_newest: whether the clock tells which bar is the newest: not where it was reckoned
            from what others saw of it.
        again: bars that positions were not managed on when they were new, oldest first; no other
            position and no entry is judged by them.
        missed: what was noted of such bars, also where they could not be had.
    """

    context: RunContext
    clock: VenueClock
    facts: EntryFacts
    bars: tuple[tuple[str, StoredEvaluation], ...]
    errors: Mapping[str, str]
    knows_newest: bool = True
    again: Mapping[UUID, tuple[StoredEvaluation, ...]] = field(default_factory=dict)
    missed: tuple[MissedBar, ...] = ()

    @property
    def unseen(self) -> list[MissedBar]:
        """Of the missed bars those that could not be had now either."""
        return [it for it in self.missed if it.position_id not in self.again]

    def bars_of(self, position_id: UUID, symbol: str) -> list[StoredEvaluation]:
        """What a position is to be managed on, oldest first."""
        new = [stored for name, stored in self.bars if name == symbol]
        known = {stored.opened_at for stored in new}
        missed = self.again.get(position_id, ())
        return [*(it for it in missed if it.opened_at not in known), *new]

    def is_newest(self, stored: StoredEvaluation) -> bool:
        """Whether a bar is, for all that is known, the last one that can have closed."""
        return self.knows_newest and stored.opened_at + BAR.length * 2 > self.clock.now


def cause_of(symbol: str, stored: StoredEvaluation) -> str:
    """What a bar's decision and orders are caused by; unique in a run."""
    return f"bar:{symbol}:{stored.opened_at.isoformat()}"
