"""Trades: every entry with its exits, newest first."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.money import ZERO, pct
from domain.positions import PositionState
from services.account_views.choice import CHOSEN

PER_PAGE_MAX = 100
_MINUTE = timedelta(minutes=1)

_MATCHING = """
p.user_id = chosen.user_id AND p.account_id = chosen.id
AND (%(symbol)s::text IS NULL OR p.symbol = %(symbol)s)
AND (%(state)s::text IS NULL OR p.state = %(state)s)
AND (%(start)s::timestamptz IS NULL OR p.opened_at >= %(start)s)
AND (%(end)s::timestamptz IS NULL OR p.opened_at < %(end)s)
"""
COUNT = f"""
WITH {CHOSEN}
SELECT chosen.id, count(p.id) AS trades
FROM chosen LEFT JOIN positions p ON {_MATCHING}
GROUP BY chosen.id
"""
TRADES = f"""
WITH {CHOSEN}
SELECT p.id, p.symbol, p.side, p.state, p.source, p.planned_quantity, p.planned_notional,
       p.entry_quantity, p.entry_notional, p.exit_quantity, p.exit_notional, p.fees,
       p.realized_pnl, p.exit_reason, p.opened_at, p.closed_at, chosen.venue, chosen.mode,
       s.clock_at
FROM chosen JOIN positions p ON {_MATCHING}
LEFT JOIN venue_states s ON s.venue = chosen.venue AND s.realm = chosen.realm
ORDER BY p.opened_at DESC, p.id DESC
LIMIT %(limit)s OFFSET %(offset)s
"""


@dataclass(frozen=True, slots=True)
class TradeFilter:
    """Which trades; times are of the opening, `end` is exclusive."""

    status: PositionState | None = None
    symbol: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class TradeView:
    """A trade. Price P&L is before fees, net after; percent is of the entry notional."""

    id: UUID
    symbol: str
    side: str
    status: str
    entry_price: Decimal | None
    exit_price: Decimal | None
    size_usd: Decimal
    quantity: Decimal
    realized_pnl: Decimal
    realized_pnl_pct: Decimal
    fees: Decimal
    net_pnl: Decimal
    opened_at: datetime
    closed_at: datetime | None
    duration_minutes: int | None
    exit_reason: str | None
    source: str
    broker: str
    mode: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TradeView:
        """The view of a stored position; one without any fill shows what was planned."""
        filled = row["entry_quantity"] > ZERO
        pnl = row["realized_pnl"] or ZERO
        return cls(
            id=row["id"],
            symbol=row["symbol"],
            side=row["side"],
            status=row["state"],
            entry_price=_price(row["entry_notional"], row["entry_quantity"]),
            exit_price=_price(row["exit_notional"], row["exit_quantity"]),
            size_usd=row["entry_notional"] if filled else row["planned_notional"],
            quantity=row["entry_quantity"] if filled else row["planned_quantity"],
            realized_pnl=pnl,
            realized_pnl_pct=pct(pnl, row["entry_notional"]),
            fees=row["fees"],
            net_pnl=pnl - row["fees"],
            opened_at=row["opened_at"],
            closed_at=row["closed_at"],
            duration_minutes=_minutes(row["opened_at"], row["closed_at"] or row["clock_at"]),
            exit_reason=row["exit_reason"],
            source=row["source"],
            broker=row["venue"],
            mode=row["mode"],
        )


@dataclass(frozen=True, slots=True)
class TradePage:
    """One page of trades, and how many there are in all."""

    trades: tuple[TradeView, ...]
    total: int


def _price(notional: Decimal, quantity: Decimal) -> Decimal | None:
    return notional / quantity if quantity else None


def _minutes(opened_at: datetime, until: datetime | None) -> int | None:
    return None if until is None else max(0, (until - opened_at) // _MINUTE)
