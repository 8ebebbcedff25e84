"""Guarding a bot: making the exits that are due, listing its live orders, ending what is over.

Needs nothing but the database: no market data, no strategy, no venue metadata. Whatever stops
entries does not stop this. It holds the bot's row, which commands need, so it waits for no other:
positions that are locked are left to the next look, and to the exits worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, GuardResult, OrderTask
from domain.ports import WallClock
from domain.positions import PositionState
from models.bots import Bot, BotRun, BotState, RunState
from models.connections import Account
from models.trading import Order, Position
from services.database import Database
from services.orders.conditions import is_exit, is_live
from services.orders.due_exits import is_to_leave
from services.orders.emptied import remove_emptied
from services.orders.live_exits import leaves_rest
from services.trading.leaving import leave
from services.trading.live_orders import live_orders
from services.trading.run_closing import ask_positions_of

LOCKED_RECHECK_SECONDS = 1.0
"""The wait for a position that another transaction has locked."""

_LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)

_log = structlog.get_logger("nija.bots")


class GuardService:
    """Exits, live orders, and the end of runs."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def guard(self, ref: BotRef) -> GuardResult:
        """One look at a bot's rows: commits the exit orders that are due and says what is live."""
        async with self._database.for_user(ref.user_id) as session:
            bot = (
                await session.exec(
                    select(Bot).where(Bot.id == ref.bot_id).with_for_update(key_share=True)
                )
            ).one_or_none()
            if bot is None:  # deleted with its user
                return GuardResult(finished=True)
            runs = await _runs(session, bot.id)
            if any(run.close_requested is not None for run in runs):
                await ask_positions_of(session, bot.id)
            recheck = await self._make_exits(session, bot, runs)
            tasks = await live_orders(session, bot.id)
            await self._end_runs(session, bot, runs, tasks)
            live = [run for run in runs if run.state != RunState.ENDED]
            open_positions = await _count_open(session, [run.id for run in live])
            return self._note(session, bot, live, tasks, open_positions, recheck)

    def _note(
        self,
        session: AsyncSession,
        bot: Bot,
        live: Sequence[BotRun],
        tasks: tuple[OrderTask, ...],
        open_positions: int,
        recheck: float | None,
    ) -> GuardResult:
        entering = any(run.state == RunState.ENTERING for run in live)
        if bot.state == BotState.STARTING and entering:
            bot.state = BotState.RUNNING
            bot.state_changed_at = self._clock.now()
        bot.seen_revision = bot.revision
        bot.progressed_at = self._clock.now()
        session.add(bot)
        newest = live[-1] if live else None
        return GuardResult(
            orders=tasks,
            state=bot.state,
            venue=newest.venue if newest else "",
            mode=newest.mode if newest else "",
            open_positions=open_positions,
            finished=not live and not tasks and recheck is None,
            may_enter=entering and bot.state == BotState.RUNNING,
            recheck_seconds=recheck,
        )

    # --- exits ------------------------------------------------------------------------------

    async def _make_exits(
        self, session: AsyncSession, bot: Bot, runs: Sequence[BotRun]
    ) -> float | None:
        """Commit the exit orders that are due; returns the wait before a failed one is repeated."""
        waits: list[float] = []
        for run in runs:
            positions, is_locked = await _positions_to_leave(session, run)
            if is_locked:
                waits.append(LOCKED_RECHECK_SECONDS)
            for position in positions:
                made = await leave(session, run, bot.id, position, self._clock.now())
                if made.retry_seconds is not None:
                    waits.append(made.retry_seconds)
        return min(waits, default=None)

    # --- ends -------------------------------------------------------------------------------

    async def _end_runs(
        self,
        session: AsyncSession,
        bot: Bot,
        runs: Sequence[BotRun],
        tasks: tuple[OrderTask, ...],
    ) -> None:
        for run in runs:
            if run.state != RunState.EXIT_ONLY or tasks:
                continue
            if not await _hold_run(session, run.id) or await _count_open(session, [run.id]):
                continue
            run.state = RunState.ENDED
            run.ended_at = self._clock.now()
            session.add(run)
            await remove_emptied(session, run.account_id, run.ended_at)
            _log.info("run.ended", bot_id=str(bot.id), run_id=str(run.id))


async def _runs(session: AsyncSession, bot_id: UUID) -> Sequence[BotRun]:
    """Runs that have not ended, and ended ones with a position that is to leave all the same."""
    return (
        await session.exec(
            select(BotRun)
            .where(
                BotRun.bot_id == bot_id,
                (col(BotRun.state) != RunState.ENDED.value)
                | col(BotRun.id).in_(select(Position.run_id).where(is_to_leave())),
            )
            .order_by(col(BotRun.number))
        )
    ).all()


async def _hold_run(session: AsyncSession, run_id: UUID) -> bool:
    """Lock a run that is about to end; False where somebody else has it at this moment.

    A booking that gives it a position has it (an order that came back): the position is counted, or
    the booking sees that the run has ended. It is not waited for, the next look ends the run.
    """
    found = await session.exec(
        select(BotRun.id)
        .where(BotRun.id == run_id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return found.first() is not None


async def _positions_to_leave(
    session: AsyncSession, run: BotRun
) -> tuple[Sequence[Position], bool]:
    """Lock the positions of a run that are due an exit order; and whether any is locked already."""
    has_exit = select(Order.position_id).where(Order.bot_id == run.bot_id, is_exit(), is_live())
    are_due = (
        Position.run_id == run.id,
        is_to_leave(),
        col(Position.id).not_in(has_exit) | leaves_rest(),
    )
    due = (await session.exec(select(Position.id).where(*are_due))).all()
    if not due:
        return (), False
    # Before the positions, as whoever books a fill: an exit order's foreign key shares it.
    account = await session.exec(
        select(Account.id)
        .where(Account.id == run.account_id)
        .with_for_update(read=True, key_share=True, skip_locked=True)
    )
    if account.first() is None:
        return (), True
    positions = (
        await session.exec(
            select(Position)
            .where(col(Position.id).in_(due), *are_due)
            .order_by(col(Position.opened_at), col(Position.id))
            .with_for_update(skip_locked=True)
        )
    ).all()
    return positions, len(positions) < len(due)


async def _count_open(session: AsyncSession, run_ids: Sequence[UUID]) -> int:
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(col(Position.run_id).in_(run_ids), col(Position.state).in_(_LIVE_POSITIONS))
        )
    ).one()
