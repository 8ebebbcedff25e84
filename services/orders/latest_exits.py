"""The latest exit order of a position: the one that tells how its exit gets on."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.trading import Order
from services.orders.conditions import is_exit


async def latest_exit(
    session: AsyncSession, position_id: UUID, *, has_ended: bool = False
) -> Order | None:
    """The exit order that was made last; with `has_ended`, of those that have ended.

    The next is made after the end of the one before, or beside it where the venue does not give it
    back: then the later one tells how the exit gets on.
    """
    statement = select(Order).where(Order.position_id == position_id, is_exit())
    if has_ended:
        statement = statement.where(col(Order.settled_at).is_not(None))
    latest_first = (col(Order.intended_at).desc(), col(Order.attempt).desc())
    return (await session.exec(statement.order_by(*latest_first).limit(1))).first()
