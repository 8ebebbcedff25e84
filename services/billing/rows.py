"""A user's billing row: made at the first touch, locked for every change."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.billing import Subscription
from models.columns import new_id

_ASK = text("UPDATE subscriptions SET asked = asked + 1 WHERE user_id = :user_id RETURNING asked")


async def find_row(session: AsyncSession, user_id: UUID) -> Subscription | None:
    """The row as it is; None before the first touch."""
    return (
        await session.exec(select(Subscription).where(Subscription.user_id == user_id))
    ).one_or_none()


async def lock_row(session: AsyncSession, user_id: UUID, now: datetime) -> Subscription:
    """The row, made if need be, locked until the transaction ends."""
    await (await session.connection()).execute(
        insert(Subscription)
        .values(
            id=new_id(),
            user_id=user_id,
            created_at=now,
            cancel_at_period_end=False,
            asked=0,
            answered=0,
        )
        .on_conflict_do_nothing(index_elements=["user_id"])
    )
    return (
        await session.exec(
            select(Subscription)
            .where(Subscription.user_id == user_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one()


async def take_ticket(session: AsyncSession, user_id: UUID) -> int:
    """Number a look at the provider, before it begins."""
    connection = await session.connection()
    ticket: int = (await connection.execute(_ASK, {"user_id": user_id})).scalar_one()
    return ticket
