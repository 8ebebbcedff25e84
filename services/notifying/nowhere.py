"""Notices for which there is nobody to tell: settled at once, for many users in one go.

Without it each of them would start a workflow that finds out the same and ends.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.notifications import Category
from models.billing import Notice
from models.connections import UserSettings
from models.notifications import Message, MessageState, NotificationChannel
from models.people import User
from services.database import all_rows
from services.notifying.destinations import Wishes, destinations
from services.notifying.kinds import category_of
from services.notifying.planning import message_of

AT_ONCE = 500


async def settle_nowhere(session: AsyncSession, now: datetime, *, has_mail: bool) -> int:
    """Give new notices that go nowhere a message that says so.

    Notices about the account are left alone: one that cannot be told is noted elsewhere.

    Args:
        session: a transaction of the system role.
        now: wall time.
        has_mail: whether the installation can send mail.

    Returns:
        How many there were.
    """
    has_channel = (
        select(NotificationChannel.id)
        .where(col(NotificationChannel.user_id) == col(Notice.user_id))
        .exists()
    )
    rows = await all_rows(
        session,
        select(Notice, User, UserSettings)
        .join(User, col(User.id) == col(Notice.user_id))
        .outerjoin(UserSettings, col(UserSettings.user_id) == col(Notice.user_id))
        .where(col(Notice.message_id).is_(None), ~has_channel)
        .order_by(col(Notice.created_at))
        .limit(AT_ONCE)
        .with_for_update(of=Notice, skip_locked=True),
    )
    settled: list[tuple[Notice, Message]] = []
    for notice, user, settings in rows:
        wishes = Wishes(user, settings or UserSettings(user_id=user.id), channels=())
        message = message_of(notice, now, MessageState.NOWHERE)
        is_told = any(True for _ in destinations(message, wishes, has_mail=has_mail))
        if not is_told and category_of(notice.kind) is not Category.ACCOUNT:
            settled.append((notice, message))
    session.add_all(message for _, message in settled)
    await session.flush()
    for notice, message in settled:
        notice.message_id = message.id
        session.add(notice)
    await session.flush()
    return len(settled)
