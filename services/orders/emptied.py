"""Removing connections that were being removed and that nothing needs any more.

Keys are needed while something can be sold through them, and while an order that was taken for
absent may yet turn up: without keys nobody would ever see its fill.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.positions import PositionState
from models.bots import BotRun, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import Order, Position
from services.orders.conditions import is_live
from services.orders.settling import is_doubted

_LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)


async def may_fill(session: AsyncSession, connection_id: UUID, now: datetime) -> bool:
    """Whether an order of a connection's account is not settled, or may yet turn up filled."""
    found = await session.exec(
        select(Order.id)
        .join(Account, col(Account.id) == Order.account_id)
        .where(
            Account.connection_id == connection_id,
            is_live() | is_doubted(now),
        )
        .limit(1)
    )
    return found.first() is not None


async def remove_emptied(session: AsyncSession, account_id: UUID, now: datetime) -> None:
    """Remove an account's connection if it was to be and nothing needs it any more.

    Args:
        session: a transaction of the account's user.
        account_id: whose live runs, positions and orders need the connection.
        now: wall time.
    """
    runs = select(BotRun.id).where(
        BotRun.account_id == account_id, BotRun.state != RunState.ENDED.value
    )
    positions = select(Position.id).where(
        Position.account_id == account_id, col(Position.state).in_(_LIVE_POSITIONS)
    )
    orders = (
        select(Order.id)
        .join(Account, col(Account.id) == Order.account_id)
        .where(Order.account_id == account_id, is_live() | is_doubted(now))
    )
    its = select(Account.connection_id).where(Account.id == account_id)
    await session.exec(
        update(Connection)
        .where(
            col(Connection.id).in_(its),
            col(Connection.status) == ConnectionStatus.EXIT_ONLY.value,
            ~(runs.exists() | positions.exists() | orders.correlate(None).exists()),
        )
        .values(status=ConnectionStatus.REMOVED.value, sealed=None, removed_at=now)
        .execution_options(synchronize_session=False)
    )
