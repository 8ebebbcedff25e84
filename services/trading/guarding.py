"""Guarding a bot: making the exits that are due, listing its live orders, ending what is over.

Needs nothing but the database: no market data, no strategy, no venue metadata. Whatever stops
entries does not stop this.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, GuardResult, OrderTask
from domain.money import ZERO
from domain.orders import (
    FINAL_STATES,
    Leg,
    OrderState,
    OrderType,
    TimeInForce,
    derive_client_order_id,
)
from domain.ports import WallClock
from domain.positions import Direction, PositionState
from domain.strategies.apex import ExitPlan, ExitReason, exit_quantity
from models.bots import Bot, BotRun, BotState, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.markets import VenueState
from models.trading import Order, Position, Trigger, TriggerState
from services.database import Database
from services.orders.booking import rules_from_record

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0
_FINAL = tuple(state.value for state in FINAL_STATES)
_LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)
_COMMANDED = frozenset({ExitReason.EMERGENCY_STOP, ExitReason.KILL_SWITCH, ExitReason.BOT_STOPPED})

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
            ).one()
            runs = await _live_runs(session, bot.id)
            recheck = await self._make_exits(session, bot, runs)
            tasks = await _live_orders(session, bot.id)
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
            finished=not live and not tasks,
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
            for position in await _positions_to_leave(session, run.id):
                wait = await self._leave(session, bot, run, position)
                if wait is not None:
                    waits.append(wait)
        return min(waits, default=None)

    async def _leave(
        self, session: AsyncSession, bot: Bot, run: BotRun, position: Position
    ) -> float | None:
        if position.open_quantity <= ZERO or await _has_live_exit(session, position.id):
            return None
        trigger = await _fired_trigger(session, position.id)
        if position.close_requested is not None:
            trigger = None
            is_commanded = position.close_requested in _COMMANDED
            leg = Leg.FLATTEN if is_commanded else Leg.EXIT
            cause = position.close_cause or f"close:{position.id}"
        elif trigger is not None:
            leg, cause = Leg(trigger.leg), f"trigger:{trigger.id}"
        else:
            return None
        attempts, last_failed_at = await _earlier_attempts(session, position, cause, leg)
        wait = _wait_before_retry(attempts, last_failed_at, self._clock.now())
        if wait > 0:
            return wait
        await self._intend_exit(session, bot, run, position, trigger, leg, cause, attempts + 1)
        return None

    async def _intend_exit(
        self,
        session: AsyncSession,
        bot: Bot,
        run: BotRun,
        position: Position,
        trigger: Trigger | None,
        leg: Leg,
        cause: str,
        attempt: int,
    ) -> None:
        rules = rules_from_record(position.rules)
        quantity = position.open_quantity
        if position.exit_plan is not None:
            plan = ExitPlan.from_record(position.exit_plan)
            quantity = exit_quantity(plan, leg, position.open_quantity, rules)
        if quantity <= ZERO:
            return
        order = Order(
            user_id=bot.user_id,
            account_id=position.account_id,
            bot_id=bot.id,
            run_id=run.id,
            position_id=position.id,
            trigger_id=trigger.id if trigger else None,
            cause=cause,
            leg=leg,
            attempt=attempt,
            client_order_id=str(
                derive_client_order_id(position.account_id, run.id, cause, leg, attempt)
            ),
            symbol=position.symbol,
            side=Direction(position.side).exit_side,
            type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            quantity=quantity,
            created_at=await _venue_now(session, run),
            intended_at=self._clock.now(),
        )
        session.add(order)
        await session.flush()
        _log.info(
            "exit.intended",
            bot_id=str(bot.id),
            position_id=str(position.id),
            symbol=position.symbol,
            leg=leg,
            attempt=attempt,
        )

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
            if await _count_open(session, [run.id]):
                continue
            run.state = RunState.ENDED
            run.ended_at = self._clock.now()
            session.add(run)
            await self._remove_emptied_connection(session, run)
            _log.info("run.ended", bot_id=str(bot.id), run_id=str(run.id))

    async def _remove_emptied_connection(self, session: AsyncSession, run: BotRun) -> None:
        """A connection that was being removed goes with the last position that needed it."""
        row = (
            await session.exec(
                select(Connection)
                .join(Account, col(Account.connection_id) == Connection.id)
                .where(
                    Account.id == run.account_id,
                    Connection.status == ConnectionStatus.EXIT_ONLY.value,
                )
            )
        ).one_or_none()
        if row is None or await _count_open_of_account(session, run.account_id):
            return
        row.status = ConnectionStatus.REMOVED
        row.sealed = None
        row.removed_at = self._clock.now()
        session.add(row)


async def _live_runs(session: AsyncSession, bot_id: UUID) -> Sequence[BotRun]:
    return (
        await session.exec(
            select(BotRun)
            .where(BotRun.bot_id == bot_id, BotRun.state != RunState.ENDED.value)
            .order_by(col(BotRun.number))
        )
    ).all()


async def _positions_to_leave(session: AsyncSession, run_id: UUID) -> Sequence[Position]:
    fired = select(Trigger.position_id).where(Trigger.state == TriggerState.FIRED.value)
    return (
        await session.exec(
            select(Position)
            .where(
                Position.run_id == run_id,
                Position.state == PositionState.OPEN.value,
                col(Position.close_requested).is_not(None) | col(Position.id).in_(fired),
            )
            .order_by(col(Position.opened_at), col(Position.id))
            .with_for_update()
        )
    ).all()


async def _has_live_exit(session: AsyncSession, position_id: UUID) -> bool:
    found = await session.exec(
        select(Order.id).where(
            Order.position_id == position_id,
            Order.leg != Leg.ENTRY.value,
            col(Order.state).not_in(_FINAL),
        )
    )
    return found.first() is not None


async def _fired_trigger(session: AsyncSession, position_id: UUID) -> Trigger | None:
    """The fired trigger that goes first: the stop, else the nearest target."""
    fired = (
        await session.exec(
            select(Trigger).where(
                Trigger.position_id == position_id, Trigger.state == TriggerState.FIRED.value
            )
        )
    ).all()
    return min(fired, key=lambda trigger: (trigger.leg != Leg.STOP, trigger.leg), default=None)


async def _earlier_attempts(
    session: AsyncSession, position: Position, cause: str, leg: Leg
) -> tuple[int, datetime | None]:
    """How often this exit was tried, and when the last try without any fill ended."""
    row = (
        await session.exec(
            select(func.max(Order.attempt), func.max(Order.settled_at)).where(
                Order.account_id == position.account_id,
                Order.run_id == position.run_id,
                Order.cause == cause,
                Order.leg == leg.value,
            )
        )
    ).one()
    return int(row[0] or 0), row[1]


def _wait_before_retry(attempts: int, failed_at: datetime | None, now: datetime) -> float:
    if not attempts or failed_at is None:
        return 0.0
    pause = min(RETRY_SECONDS_FIRST * 2 ** (attempts - 1), RETRY_SECONDS_MAX)
    return (failed_at + timedelta(seconds=pause) - now).total_seconds()


async def _live_orders(session: AsyncSession, bot_id: UUID) -> tuple[OrderTask, ...]:
    rows = (
        await session.exec(
            select(Order.id, Order.state, Order.leg, Order.symbol)
            .where(Order.bot_id == bot_id, col(Order.state).not_in(_FINAL))
            .order_by(col(Order.intended_at))
        )
    ).all()
    return tuple(
        OrderTask(order_id=order_id, state=OrderState(state), leg=leg, symbol=symbol)
        for order_id, state, leg, symbol in rows
    )


async def _count_open(session: AsyncSession, run_ids: Sequence[UUID]) -> int:
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(col(Position.run_id).in_(run_ids), col(Position.state).in_(_LIVE_POSITIONS))
        )
    ).one()


async def _count_open_of_account(session: AsyncSession, account_id: UUID) -> int:
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(Position.account_id == account_id, col(Position.state).in_(_LIVE_POSITIONS))
        )
    ).one()


async def _venue_now(session: AsyncSession, run: BotRun) -> datetime:
    """The venue's clock as last seen by its watcher; the run's start where it was never seen."""
    seen = (
        await session.exec(
            select(VenueState.clock_at).where(
                VenueState.venue == run.venue, VenueState.realm == run.realm
            )
        )
    ).one_or_none()
    return seen or run.venue_started_at
