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

from domain.orders import FINAL_STATES
from domain.positions import PositionState
from models.bots import BotRun, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import Order, Position
from services.orders.settling import is_doubted

_FINAL = tuple(state.value for state in FINAL_STATES)
_LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)


async def may_fill(session: AsyncSession, connection_id: UUID, now: datetime) -> bool:
    """Whether an order of a connection's account is not settled, or may yet turn up filled."""
    found = await session.exec(
        select(Order.id)
        .join(Account, col(Account.id) == Order.account_id)
        .where(
            Account.connection_id == connection_id,
            col(Order.state).not_in(_FINAL) | is_doubted(now),
        )
        .limit(1)
    )
    return found.first() is not None


async def remove_emptied(
    session: AsyncSession, now: datetime, *, account_id: UUID | None = None
) -> None:
    """Remove what was asked to be removed and has no live run, position or order any more.

    Args:
        session: a transaction of the connections' user, or of the system.
        now: wall time.
        account_id: only the connection of this account.
    """
    runs = select(BotRun.id).where(
        BotRun.account_id == Account.id, BotRun.state != RunState.ENDED.value
    )
    positions = select(Position.id).where(
        Position.account_id == Account.id, col(Position.state).in_(_LIVE_POSITIONS)
    )
    orders = select(Order.id).where(
        Order.account_id == Account.id, col(Order.state).not_in(_FINAL) | is_doubted(now)
    )
    needing = select(Account.id).where(
        Account.connection_id == Connection.id,
        runs.exists() | positions.exists() | orders.exists(),
    )
    statement = update(Connection).where(
        col(Connection.status) == ConnectionStatus.EXIT_ONLY.value, ~needing.exists()
    )
    if account_id is not None:
        its = select(Account.connection_id).where(Account.id == account_id)
        statement = statement.where(col(Connection.id).in_(its))
    await session.exec(
        statement.values(
            status=ConnectionStatus.REMOVED.value, sealed=None, removed_at=now
        ).execution_options(synchronize_session=False)
    )
