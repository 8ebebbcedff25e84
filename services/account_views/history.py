"""Trades: every entry with its exits, newest first."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from domain.markets import Mode
from domain.money import ONE, ZERO, pct
from domain.positions import PositionState
from services.account_views.frame import EVER, Frame, midnight, months_from
from services.account_views.sums import picked
from services.reads import Query

PER_PAGE_MAX = 100
_MINUTE = timedelta(minutes=1)

COLUMNS = """
p.id, p.symbol, p.side, p.state, p.source, p.planned_quantity, p.planned_notional,
p.entry_quantity, p.entry_notional, p.exit_quantity, p.exit_notional, p.fees,
p.realized_pnl, p.exit_reason, p.opened_at, p.closed_at, p.closed_elsewhere_quantity,
p.written_off_quantity
"""
"""What `TradeView.of` needs of a position."""

MATCHING = """
p.user_id = %(user_id)s AND p.account_id = %(account_id)s
AND (%(retained)s::timestamptz IS NULL OR p.closed_at IS NULL OR p.closed_at >= %(retained)s)
AND (%(symbol)s::text IS NULL OR p.symbol = %(symbol)s)
AND (%(state)s::text IS NULL OR p.state = %(state)s)
AND (%(start)s::timestamptz IS NULL OR p.opened_at >= %(start)s)
AND (%(end)s::timestamptz IS NULL OR p.opened_at < %(end)s)
"""
COUNTED = f"SELECT count(*) AS trades FROM positions p WHERE {MATCHING}"
"""One row: how many trades match, each looked at."""

COUNTED_BY_DAYS = f"""
WITH {picked("r.hour = -1 AND r.symbol = coalesce(%(symbol)s::text, '')")}
SELECT (
    (SELECT coalesce(sum(trades), 0) FROM picked)
    + (SELECT count(*) FROM positions p WHERE {MATCHING} AND p.state IN ('pending', 'open'))
    + (SELECT count(*) FROM positions p WHERE {MATCHING} AND p.state = 'cancelled')
    + (SELECT count(*) FROM positions p WHERE {MATCHING} AND p.state = 'closed' AND p.closed_at <= (
        SELECT max(f.at) FROM flows f
        WHERE f.user_id = %(user_id)s AND f.account_id = %(account_id)s AND f.kind = 'reset'
    ))
)::bigint AS trades
"""
"""The same from the roll-ups, which hold every closed trade since the account's last reset."""

# The index alone tells which trades are on a page; only those are read.
TRADES = f"""
SELECT {COLUMNS}
FROM (
    SELECT p.id FROM positions p WHERE {MATCHING}
    ORDER BY p.opened_at DESC, p.id DESC
    LIMIT %(limit)s OFFSET %(offset)s
) page
JOIN positions p ON p.user_id = %(user_id)s AND p.id = page.id
ORDER BY p.opened_at DESC, p.id DESC
"""


@dataclass(frozen=True, slots=True)
class TradeFilter:
    """Which trades; times are of the opening, `end` is exclusive."""

    status: PositionState | None = None
    symbol: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def params(self, frame: Frame) -> dict[str, Any]:
        """The parameters of `MATCHING`."""
        return {
            "account_id": frame.account_id,
            "retained": midnight(frame.retained_from),
            "symbol": self.symbol,
            "state": self.status,
            "start": self.start,
            "end": self.end,
        }

    def counted(self, frame: Frame) -> Query:
        """The query of how many match: roll-ups tell where these sum over nothing else."""
        is_of_times = self.start is not None or self.end is not None
        if is_of_times or self.status not in {None, PositionState.CLOSED}:
            return Query(COUNTED, self.params(frame))
        first = frame.retained_from or EVER
        days = {"first": first, "months_from": months_from(first)}
        return Query(COUNTED_BY_DAYS, {**self.params(frame), **days})


class TradeView(NamedTuple):
    """A trade. Price P&L is before fees, net after; percent is of the entry notional.

    Of an open trade both are of what was sold so far, and net P&L is after all fees so far. What
    left by manual actions or was written off is not in the P&L, nor in what that is a percent of.
    """

    id: UUID
    symbol: str
    side: str
    status: str
    entry_price: Decimal | None
    exit_price: Decimal | None
    size_usd: Decimal
    quantity: Decimal
    sold_quantity: Decimal
    closed_elsewhere_quantity: Decimal
    written_off_quantity: Decimal
    realized_pnl: Decimal
    realized_pnl_pct: Decimal
    fees: Decimal
    net_pnl: Decimal
    opened_at: datetime
    closed_at: datetime | None
    duration_minutes: int
    exit_reason: str | None
    source: str
    broker: str
    mode: Mode

    @classmethod
    def of(cls, row: Mapping[str, Any], frame: Frame) -> TradeView:
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
            sold_quantity=row["exit_quantity"],
            closed_elsewhere_quantity=row["closed_elsewhere_quantity"],
            written_off_quantity=row["written_off_quantity"],
            realized_pnl=pnl,
            realized_pnl_pct=pct(pnl, row["entry_notional"] * share_sold(row)),
            fees=row["fees"],
            net_pnl=pnl - row["fees"],
            opened_at=row["opened_at"],
            closed_at=row["closed_at"],
            duration_minutes=_minutes(row["opened_at"], row["closed_at"] or frame.now),
            exit_reason=row["exit_reason"],
            source=row["source"],
            broker=frame.venue,
            mode=frame.mode,
        )


@dataclass(frozen=True, slots=True)
class TradePage:
    """One page of trades, and how many there are in all."""

    trades: tuple[TradeView, ...]
    total: int


def share_sold(row: Mapping[str, Any]) -> Decimal:
    """Which part of what was entered the realised P&L of a stored position is of, as a fraction."""
    entered = row["entry_quantity"]
    if not entered:
        return ONE
    if row["state"] == PositionState.OPEN:
        return Decimal(row["exit_quantity"] / entered)
    gone = row["closed_elsewhere_quantity"] + row["written_off_quantity"]
    return (entered - gone) / entered if gone else ONE


def _price(notional: Decimal, quantity: Decimal) -> Decimal | None:
    return notional / quantity if quantity else None


def _minutes(opened_at: datetime, until: datetime) -> int:
    return max(0, (until - opened_at) // _MINUTE)
