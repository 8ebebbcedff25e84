"""A position as its stored fills amount to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import Side
from domain.positions import Direction, PositionFill, PositionState, fold_fills
from domain.positions import Position as FoldedPosition
from models.trading import Fill, Order, Position
from services.database import all_rows
from services.orders.conditions import is_entry, is_live
from services.orders.dust import flat_below
from services.orders.exit_progress import note_through
from services.orders.latest_exits import latest_exit
from services.orders.market_rules import rules_from_record


async def fold_of(session: AsyncSession, position: Position) -> FoldedPosition:
    """What a position's stored fills amount to, with what is known to have gone otherwise."""
    rules = rules_from_record(position.rules)
    # Rows, not entities, and none of the orders but one: an exit may have been tried for weeks.
    fills = await all_rows(session, _FILLS.where(col(Fill.position_id) == position.id))
    live_entry = select(Order.id).where(
        Order.account_id == position.account_id,
        Order.position_id == position.id,
        is_entry(),
        is_live(),
    )
    return fold_fills(
        Direction(position.side),
        [_position_fill(fill) for fill in fills],
        base=rules.base,
        quote=rules.quote,
        entry_final=(await session.exec(live_entry.limit(1))).first() is None,
        dust=flat_below(await latest_exit(session, position.id), rules),
        gone=position.closed_elsewhere_quantity + position.written_off_quantity,
    )


def apply_fold(position: Position, folded: FoldedPosition) -> None:
    """Write what the fills amount to into the row; its end is another matter."""
    position.state = folded.state
    position.entry_quantity = folded.entry_quantity
    position.entry_notional = folded.entry_notional
    position.exit_quantity = folded.exit_quantity
    position.exit_notional = folded.exit_notional
    position.open_quantity = max(ZERO, folded.remaining_quantity)
    position.fees = folded.fees
    is_filled = folded.state in {PositionState.OPEN, PositionState.CLOSED}
    position.realized_pnl = folded.price_pnl if is_filled else None
    # An exit of ours that turned up late explains what had seemed gone.
    gone = position.closed_elsewhere_quantity + position.written_off_quantity
    explained = gone - folded.gone_quantity
    by_sale = min(explained, position.closed_elsewhere_quantity)
    position.closed_elsewhere_quantity -= by_sale
    position.written_off_quantity -= explained - by_sale
    if folded.opened_at is not None:
        position.opened_at = folded.opened_at
    if folded.state is PositionState.CLOSED:
        note_through(position)
    else:
        position.closed_at = None  # an order that came back opens its position again


_FILLS = sql_select(
    col(Fill.venue_fill_id),
    col(Fill.side),
    col(Fill.price),
    col(Fill.quantity),
    col(Fill.fee),
    col(Fill.fee_currency),
    col(Fill.filled_at),
    col(Fill.fee_quote),
)


def _position_fill(row: Row[Any]) -> PositionFill:
    return PositionFill(
        fill_id=row.venue_fill_id,
        side=Side(row.side),
        price=row.price,
        quantity=row.quantity,
        fee=row.fee,
        fee_currency=row.fee_currency,
        filled_at=row.filled_at,
        fee_value=row.fee_quote,
    )
