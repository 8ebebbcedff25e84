"""Asking every position of a bot to leave, whatever has one of them locked.

That all of them are to leave is kept with the bot's runs, in the transaction that ends entries. In
the same transaction those positions are asked that nothing else has locked at this moment. The rest
(one that a booking or a process that froze has locked, an entry that was taken for lost and fills
after all) is asked by the bot's guard and by the exits worker's poll, some times a second, whatever
became of the process that took the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from models.bots import BotRun
from models.trading import Position
from services.database import Database
from services.orders.due_exits import HAS_KEYS, has_keys
from services.trading.ending import live_runs, reopen_runs
from services.trading.figures import LIVE_POSITIONS


def _asking(also: str = "") -> TextClause:
    """Ask the positions of runs that are to be closed, but those that are locked.

    User and account are the run's; they are named so that only live positions are read.
    """
    return text(f"""
WITH asked AS (
  SELECT p.id, r.bot_id, r.close_requested, r.close_cause
  FROM bot_runs r
  JOIN positions p ON p.run_id = r.id AND p.user_id = r.user_id AND p.account_id = r.account_id
  WHERE r.close_requested IS NOT NULL AND r.state <> 'ended' {also}
    AND p.state IN ('pending', 'open') AND p.close_requested IS NULL AND {HAS_KEYS}
  ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE positions p
SET close_requested = asked.close_requested, close_cause = asked.close_cause || ':' || p.id
FROM asked WHERE p.id = asked.id
RETURNING p.user_id, asked.bot_id, p.state
""")  # noqa: S608 - every part is a literal, every value a parameter


_ASK_BOT, _ASK_ALL = _asking("AND r.bot_id = :bot_id"), _asking()


async def request_close(
    session: AsyncSession, bot_id: UUID, reason: ExitReason, cause: str
) -> Sequence[UUID]:
    """Have every live position of a bot leave; pending ones leave once filled.

    In whatever account and run it was opened, but for those whose keys were removed: nothing of
    them can be sold. Runs that were over exit again. A position that is leaving already keeps its
    reason and cause, a run that is to be closed already as well. None that is locked is waited for.

    Args:
        session: a transaction of the bot's user; the bot's row is locked, and no run of it may
            enter any more.
        bot_id: the bot.
        reason: the exit reason that the positions get.
        cause: what asks; the position's id is added to it.

    Returns:
        The positions that leave, those that are still to be asked included.
    """
    await reopen_runs(session, bot_id)
    for run in await live_runs(session, bot_id):
        if run.close_requested is None:
            run.close_requested, run.close_cause = reason, cause
            session.add(run)
    await session.flush()
    await ask_positions_of(session, bot_id)
    found = await session.exec(
        select(Position.id)
        .join(BotRun, col(BotRun.id) == Position.run_id)
        .where(BotRun.bot_id == bot_id, col(Position.state).in_(LIVE_POSITIONS), has_keys())
        .order_by(col(Position.id))
    )
    return found.all()


async def ask_positions_of(session: AsyncSession, bot_id: UUID) -> None:
    """Ask every position of a bot's runs that are to be closed and that was not asked yet."""
    await (await session.connection()).execute(_ASK_BOT, {"bot_id": bot_id})


async def ask_closing_positions(database: Database) -> set[tuple[UUID, UUID]]:
    """Ask every position of a run that is to be closed and that was not asked yet.

    Returns:
        Users and bots with open positions that were asked now.
    """
    async with database.as_system() as session:
        asked = await (await session.connection()).execute(_ASK_ALL)
        return {
            (user_id, bot_id) for user_id, bot_id, state in asked if state == PositionState.OPEN
        }
