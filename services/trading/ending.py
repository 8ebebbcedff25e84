"""Ending entries, in the transaction of whoever has the right to; runs that exit again.

The bot's row is locked by the caller, first of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.bots import Bot, BotRun, BotState, RunState
from models.trading import Position
from services.orders.due_exits import has_keys
from services.trading.figures import LIVE_POSITIONS


def change_state(session: AsyncSession, bot: Bot, state: BotState, now: datetime) -> None:
    """Give the bot a state, and its workflow something to notice."""
    bot.state = state
    bot.state_changed_at = now
    bot.revision += 1
    session.add(bot)


async def live_runs(
    session: AsyncSession, bot_id: UUID, account_id: UUID | None = None
) -> Sequence[BotRun]:
    """Lock and return the runs that are not over, of one account or of all."""
    statement = select(BotRun).where(BotRun.bot_id == bot_id, BotRun.state != RunState.ENDED.value)
    if account_id is not None:
        statement = statement.where(BotRun.account_id == account_id)
    return (await session.exec(statement.with_for_update(key_share=True))).all()


async def end_entries(
    session: AsyncSession, bot: Bot, state: BotState, reason: str, now: datetime
) -> None:
    """Make every live run exit-only, together with the bot's new state."""
    change_state(session, bot, state, now)
    await session.flush()
    for run in await live_runs(session, bot.id):
        if run.state == RunState.ENTERING:
            run.state = RunState.EXIT_ONLY
            run.end_reason = reason
            session.add(run)


async def reopen_runs(session: AsyncSession, bot_id: UUID) -> None:
    """Have runs of a bot that were over exit again where a position of theirs can be left.

    Nobody else guards such a position, nor compares its account.
    """
    held = select(Position.run_id).where(col(Position.state).in_(LIVE_POSITIONS), has_keys())
    await session.exec(
        update(BotRun)
        .where(
            col(BotRun.bot_id) == bot_id,
            col(BotRun.state) == RunState.ENDED.value,
            col(BotRun.id).in_(held),
        )
        .values(state=RunState.EXIT_ONLY.value, ended_at=None)
    )
