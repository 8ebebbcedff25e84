"""Ending all trading of a user for good, without leaving anything at a real venue to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode
from domain.strategies.apex import ExitReason
from models.bots import Bot, BotRun, BotState, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import Order, Position
from services.orders.conditions import is_live
from services.orders.settling import is_doubted
from services.trading.ending import change_state, end_entries, live_runs
from services.trading.figures import LIVE_POSITIONS
from services.trading.run_closing import request_close


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a user still has going with real money; `unasked` positions were not told to leave."""

    runs: int
    positions: int
    orders: int
    unasked: int

    @property
    def is_none(self) -> bool:
        """Whether nothing would be left to itself."""
        return not (self.runs or self.positions or self.orders)


async def live_exposure(session: AsyncSession, user_id: UUID, now: datetime) -> Exposure:
    """Count live runs, positions, and orders that are not settled or may yet turn up filled.

    Connections that were removed do not count: nobody can act through them any more, and removing
    one with open positions takes an explicit command of the user.
    """
    accounts = (
        select(Account.id)
        .join(Connection, col(Connection.id) == Account.connection_id)
        .where(
            Account.user_id == user_id,
            Account.mode == Mode.LIVE.value,
            Connection.status != ConnectionStatus.REMOVED.value,
        )
    )
    runs = select(func.count()).where(
        col(BotRun.account_id).in_(accounts), BotRun.state != RunState.ENDED.value
    )
    positions = select(func.count()).where(
        col(Position.account_id).in_(accounts), col(Position.state).in_(LIVE_POSITIONS)
    )
    orders = (
        select(func.count())
        .select_from(Order)
        .join(Account, col(Account.id) == Order.account_id)
        .where(
            col(Order.account_id).in_(accounts),
            or_(is_live(), is_doubted(now)),
        )
    )
    return Exposure(
        runs=(await session.exec(runs)).one(),
        positions=(await session.exec(positions)).one(),
        orders=(await session.exec(orders)).one(),
        unasked=(
            await session.exec(positions.where(col(Position.close_requested).is_(None)))
        ).one(),
    )


async def lock_bots(session: AsyncSession, user_id: UUID) -> Sequence[Bot]:
    """Lock every bot of a user; not against foreign keys, as `starting.lock_bot`."""
    return (
        await session.exec(
            select(Bot)
            .where(Bot.user_id == user_id)
            .order_by(col(Bot.id))
            .with_for_update(key_share=True)
        )
    ).all()


async def wind_down(session: AsyncSession, bot: Bot, now: datetime) -> None:
    """End entries, and ask for the exit of everything; the bot's row is locked by the caller.

    Positions of runs that were over already (an order that came back) get their run back, so that
    the guard exits them too.
    """
    state = BotState(bot.state)
    if state is not BotState.EMERGENCY_STOPPED:
        state = BotState.STOPPED
    await end_entries(session, bot, state, "account deleted", now)
    await request_close(session, bot.id, ExitReason.BOT_STOPPED, "deletion")


async def end_paper_runs(session: AsyncSession, bot: Bot, now: datetime) -> bool:
    """End what is left of paper runs where they stand; whether there was anything to end."""
    runs = await live_runs(session, bot.id)
    for run in runs:
        run.state, run.ended_at = RunState.ENDED, now
        session.add(run)
    if runs:
        change_state(session, bot, BotState(bot.state), now)
    return bool(runs)
