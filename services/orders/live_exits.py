"""Exit orders that have not ended, and what of their position may be sold beside them.

An exit that its venue neither carries out nor takes back must not keep the rest of its position. So
once it could not be taken back for a bound it is *set aside*: the next exit is made beside it, for
what it cannot sell. Nothing is sold twice by that: a live exit sells no more than its quantity, and
what it has sold is taken off both that and the position by the same booking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal_column
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from models.trading import Order, Position
from services.orders.cancelling import CANCEL_SECONDS_MAX, STUCK_AFTER
from services.orders.conditions import is_exit, is_live
from services.orders.due_exits import leaves_whole

SET_ASIDE_AFTER = STUCK_AFTER + timedelta(seconds=CANCEL_SECONDS_MAX)
"""Wall time since an exit was sent after which it may be set aside: it was cancelled, and the venue
had the time to answer. One that it does not list has been in flight for as long as it can be."""


async def live_exits(session: AsyncSession, position_id: UUID) -> Sequence[Order]:
    """The exits of a position that have not ended, those that were set aside included."""
    found = await session.exec(
        select(Order).where(Order.position_id == position_id, is_exit(), is_live())
    )
    return found.all()


def may_sell(exits: Iterable[Order]) -> Decimal:
    """What exits may sell yet together, in the base currency."""
    return sum((max(ZERO, it.quantity - it.filled_quantity) for it in exits), ZERO)


def seconds_until_set_aside(order: Order, wall: datetime) -> float:
    """Wall seconds until an exit may be set aside; none or less where it may be, or is.

    One that was not sent yet is no longer than a moment from it, and counts as sent now.
    """
    if order.set_aside_at is not None:
        return 0.0
    if order.sent_at is None or not order.sends:
        return SET_ASIDE_AFTER.total_seconds()
    # Each repetition of an exit without an answer is a send as well.
    since = order.sent_at if order.sends == 1 else order.intended_at
    return (since + SET_ASIDE_AFTER - wall).total_seconds()


def leaves_rest(wall: datetime | None = None) -> ColumnElement[bool]:
    """Of positions that are to leave those that leave whole and hold more than live exits may sell.

    With a wall time only those whose live exits may all be set aside by then.
    """
    of_position = (col(Order.position_id) == col(Position.id)) & is_exit() & is_live()
    left = func.greatest(col(Order.quantity) - col(Order.filled_quantity), literal_column("0"))
    sold = select(func.coalesce(func.sum(left), literal_column("0"))).where(of_position)
    found = leaves_whole() & (col(Position.open_quantity) > sold.scalar_subquery())
    if wall is None:
        return found
    since = case((col(Order.sends) == 1, col(Order.sent_at)), else_=col(Order.intended_at))
    may_be = col(Order.set_aside_at).is_not(None) | (
        (col(Order.sends) > 0) & (since <= wall - SET_ASIDE_AFTER)
    )
    return found & ~select(Order.id).where(of_position, ~may_be).exists()
