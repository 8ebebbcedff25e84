"""Ending what trades with a connection's keys, in the transaction that takes them.

Stops and targets go with the keys, neither before nor after: whatever becomes of the process on its
way to a removal by force, a position has keys and its stops, or none of both.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.bots import BotState, RunState
from models.connections import Account
from services.orders.protection import cancel_triggers
from services.trading.ending import change_state, live_runs
from services.trading.figures import live_positions
from services.trading.starting import lock_bot

REASON = "connection removed"


async def end_without_keys(
    session: AsyncSession, user_id: UUID, connection_id: UUID, now: datetime
) -> None:
    """End the runs of a connection where they stand, and the triggers of its positions.

    Nothing can be sold without keys, so nothing is to be woken for it either. A run that was
    started since the removal began ends as well.

    Args:
        session: the transaction that takes the keys; nothing of the connection is locked yet.
        user_id: whose connection.
        connection_id: the connection.
        now: wall time.
    """
    bot = await lock_bot(session, user_id)
    of_connection = select(Account).where(Account.connection_id == connection_id)
    account = (await session.exec(of_connection)).one_or_none()
    if bot is None or account is None:
        return
    runs = await live_runs(session, bot.id, account.id)
    was_entering = any(run.state == RunState.ENTERING for run in runs)
    for run in runs:
        run.state, run.end_reason, run.ended_at = RunState.ENDED, REASON, now
        session.add(run)
    for position in await live_positions(session, account.id):
        await cancel_triggers(session, position.id)
    if runs:
        state = BotState(bot.state)
        is_stopped = was_entering and state is not BotState.EMERGENCY_STOPPED
        change_state(session, bot, BotState.STOPPED if is_stopped else state, now)
