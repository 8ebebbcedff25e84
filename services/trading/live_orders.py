"""The orders of a bot that need the next step, for whoever carries them out."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.orders import OrderState
from models.connections import Account, Connection
from models.trading import Order
from services.accounts import is_keyed
from services.database import all_rows
from services.orders.conditions import is_exit, is_live


async def live_orders(
    session: AsyncSession, bot_id: UUID, *, exits_only: bool = False
) -> tuple[OrderTask, ...]:
    """A bot's orders that have no end, in the sequence in which they were intended."""
    statement = (
        select(
            col(Order.id),
            col(Order.state),
            col(Order.leg),
            col(Order.symbol),
            col(Connection.version),
        )
        .join(Account, col(Account.id) == Order.account_id)
        .join(Connection, is_keyed(), isouter=True)
        .where(col(Order.bot_id) == bot_id, is_live())
        .order_by(col(Order.intended_at))
    )
    if exits_only:
        statement = statement.where(is_exit())
    return tuple(
        OrderTask(
            order_id=order_id,
            state=OrderState(state),
            leg=leg,
            symbol=symbol,
            keys=version or 0,
        )
        for order_id, state, leg, symbol, version in await all_rows(session, statement)
    )
