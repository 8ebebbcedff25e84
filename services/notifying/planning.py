"""From notices to messages: one each, or a digest where they come in bursts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.notifications import BURST_WINDOW, GIVE_UP_AFTER, Category, plan_burst
from models.billing import Notice
from models.columns import new_id
from models.notifications import Message, MessageKind, MessageState, NotificationPreferences
from services.notifying.kinds import category_of, is_urgent

AT_ONCE = 500


async def lock_preferences(
    session: AsyncSession, user_id: UUID, now: datetime
) -> NotificationPreferences:
    """A user's row, made if need be, locked until the transaction ends."""
    await (await session.connection()).execute(
        insert(NotificationPreferences)
        .values(
            user_id=user_id,
            timezone="UTC",
            report_hour=8,
            report_minute=0,
            weekly_day=1,
            updated_at=now,
        )
        .on_conflict_do_nothing(index_elements=["user_id"])
    )
    return (
        await session.exec(
            select(NotificationPreferences)
            .where(NotificationPreferences.user_id == user_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one()


async def plan_messages(session: AsyncSession, user_id: UUID, now: datetime) -> int:
    """Give every new notice a message; the caller holds the user's preferences.

    Returns:
        How many notices there were.
    """
    notices = (
        await session.exec(
            select(Notice)
            .where(Notice.user_id == user_id, col(Notice.message_id).is_(None))
            .order_by(col(Notice.created_at), col(Notice.id))
            .limit(AT_ONCE)
            # Held against `settle_nowhere`, which would give the same notices messages too.
            .with_for_update()
        )
    ).all()
    calm: list[Notice] = []
    for notice in notices:
        if now - notice.created_at > GIVE_UP_AFTER:
            await _alone(session, notice, now, MessageState.STALE)
        elif is_urgent(notice.kind):
            await _alone(session, notice, now)
        else:
            calm.append(notice)
    by_category = sorted(calm, key=lambda notice: category_of(notice.kind))
    for category, group in groupby(by_category, key=lambda notice: category_of(notice.kind)):
        await _plan_category(session, user_id, category, list(group), now)
    return len(notices)


async def _plan_category(
    session: AsyncSession,
    user_id: UUID,
    category: Category,
    notices: Sequence[Notice],
    now: datetime,
) -> None:
    recent = (
        await session.exec(
            select(Message).where(
                Message.user_id == user_id,
                Message.category == category.value,
                Message.created_at > now - BURST_WINDOW,
            )
        )
    ).all()
    gathering = next(
        (it for it in recent if it.kind == MessageKind.DIGEST and it.send_at > now), None
    )
    plan = plan_burst(len(notices), [it.created_at for it in recent], now)
    if gathering is None and not plan.gathers:
        for notice in notices:
            await _alone(session, notice, now)
        return
    if gathering is None:
        gathering = Message(
            user_id=user_id,
            kind=MessageKind.DIGEST,
            key=f"digest:{notices[0].id.hex}",
            category=category,
            send_at=plan.send_at,
            created_at=now,
        )
        session.add(gathering)
        await session.flush()
    _assign(session, notices, gathering)


async def _alone(
    session: AsyncSession, notice: Notice, now: datetime, state: MessageState = MessageState.OPEN
) -> None:
    message = message_of(notice, now, state)
    session.add(message)
    await session.flush()
    _assign(session, [notice], message)


def message_of(notice: Notice, now: datetime, state: MessageState) -> Message:
    """The message that tells one notice and nothing else."""
    return Message(
        id=new_id(),
        user_id=notice.user_id,
        kind=MessageKind.NOTICE,
        key=f"notice:{notice.id.hex}",
        category=category_of(notice.kind),
        state=state,
        send_at=now,
        created_at=now,
        finished_at=None if state is MessageState.OPEN else now,
    )


def _assign(session: AsyncSession, notices: Sequence[Notice], message: Message) -> None:
    for notice in notices:
        notice.message_id = message.id
        session.add(notice)
