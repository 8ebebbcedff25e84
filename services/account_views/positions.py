"""Open positions, valued at the last quote."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.money import ZERO, pct
from domain.positions import Direction
from services.account_views.choice import CHOSEN, QUOTED

POSITIONS = f"""
WITH {CHOSEN}
SELECT chosen.venue, p.id, p.symbol, p.side, p.entry_quantity, p.entry_notional, p.open_quantity,
       p.stop_loss, p.take_profit, p.opened_at, p.close_requested, p.exit_state, p.exit_due_at,
       p.exit_attempts, p.exit_error, p.exit_quantity, p.closed_elsewhere_quantity,
       p.written_off_quantity, p.realized_pnl, p.fees, q.last,
       coalesce(m.status, 'open') AS market_status
FROM chosen
LEFT JOIN positions p
    ON p.user_id = chosen.user_id AND p.account_id = chosen.id
    AND p.state IN ('pending', 'open') AND p.open_quantity > 0
    AND (%(symbol)s::text IS NULL OR p.symbol = %(symbol)s)
{QUOTED} AND q.symbol = p.symbol
LEFT JOIN market_states m ON m.venue = chosen.venue AND m.realm = chosen.realm
    AND m.symbol = p.symbol
ORDER BY p.opened_at, p.id
"""
"""One row a position; one row of nulls where the account holds none."""


@dataclass(frozen=True, slots=True)
class PositionView:
    """An open position. Values are of what is still open; None where there is no quote.

    Attributes:
        realized_pnl: price P&L of what was sold so far, before fees.
        fees: all that were paid so far.
        sold_quantity: what its exits have traded so far.
        closed_elsewhere_quantity: what left the account by manual actions.
        written_off_quantity: what its user gave up.
        market_status: as the venue last published it, a `domain.markets.MarketStatus`.
        closing: whether all of it has been asked to leave.
        exit_state: how an exit that is due gets on, `working` or `failing`; None while none is;
            `no_keys` where none can be made.
        exit_due_at: since when it is due, wall time.
        exit_attempts: orders in a row that filled nothing.
        exit_error: why the latest did not.
    """

    id: UUID
    symbol: str
    side: Direction
    entry_price: Decimal
    current_price: Decimal | None
    size_usd: Decimal
    quantity: Decimal
    unrealized_pnl: Decimal | None
    unrealized_pnl_pct: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    opened_at: datetime
    broker: str
    realized_pnl: Decimal
    fees: Decimal
    sold_quantity: Decimal
    closed_elsewhere_quantity: Decimal
    written_off_quantity: Decimal
    market_status: str
    closing: bool
    exit_state: str | None
    exit_due_at: datetime | None
    exit_attempts: int
    exit_error: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> PositionView:
        """Value a stored position at its quote."""
        side = Direction(row["side"])
        entry_quantity, quantity = row["entry_quantity"], row["open_quantity"]
        entry_price = row["entry_notional"] / entry_quantity if entry_quantity else ZERO
        # A quotient is rounded; of the whole position the notional itself is exact.
        size = row["entry_notional"] * quantity / entry_quantity if entry_quantity else ZERO
        last = row["last"]
        pnl = None if last is None else side.sign * (last * quantity - size)
        return cls(
            id=row["id"],
            symbol=row["symbol"],
            side=side,
            entry_price=entry_price,
            current_price=last,
            size_usd=size,
            quantity=quantity,
            unrealized_pnl=pnl,
            unrealized_pnl_pct=None if pnl is None else pct(pnl, size),
            stop_loss=row["stop_loss"],
            take_profit=row["take_profit"],
            opened_at=row["opened_at"],
            broker=row["venue"],
            realized_pnl=row["realized_pnl"] or ZERO,
            fees=row["fees"],
            sold_quantity=row["exit_quantity"],
            closed_elsewhere_quantity=row["closed_elsewhere_quantity"],
            written_off_quantity=row["written_off_quantity"],
            market_status=row["market_status"],
            closing=row["close_requested"] is not None,
            exit_state=row["exit_state"],
            exit_due_at=row["exit_due_at"],
            exit_attempts=row["exit_attempts"],
            exit_error=row["exit_error"],
        )


@dataclass(frozen=True, slots=True)
class PositionsView:
    """All open positions of an account, and their sums; None where one has no quote."""

    positions: tuple[PositionView, ...]
    total_value_usd: Decimal
    total_unrealized_pnl: Decimal | None
    total_unrealized_pnl_pct: Decimal | None

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> PositionsView:
        """Value and sum stored positions."""
        positions = tuple(PositionView.of(row) for row in rows if row["id"] is not None)
        size = sum((position.size_usd for position in positions), ZERO)
        pnl = total([position.unrealized_pnl for position in positions])
        return cls(
            positions=positions,
            total_value_usd=size,
            total_unrealized_pnl=pnl,
            total_unrealized_pnl_pct=None if pnl is None else pct(pnl, size),
        )


def total(parts: Sequence[Decimal | None]) -> Decimal | None:
    """The sum; None as soon as one part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known, ZERO) if len(known) == len(parts) else None
