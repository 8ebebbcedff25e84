"""Letting the sweeper wake a bot that has news."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.bots import Bot


async def have_woken(session: AsyncSession, bot_id: UUID) -> None:
    """Have the sweeper wake a bot whose workflow may not be told.

    Bots are locked before positions, and nothing that exits need waits for one: a bot that is held
    is skipped. Whoever holds it tells it, and a silent one is woken after a while anyway.
    """
    unheld = (
        select(Bot.id).where(Bot.id == bot_id).with_for_update(key_share=True, skip_locked=True)
    )
    await session.exec(
        update(Bot).where(col(Bot.id).in_(unheld)).values(revision=col(Bot.revision) + 1)
    )
