"""Commands to a user's bot: committed to the rows, where they take effect, then told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotSignal, Nudge
from domain.markets import Realm
from domain.ports import (
    Venues,
    WallClock,
    WorkflowService,
    WorkflowServiceUnavailable,
)
from domain.positions import PositionState
from domain.principal import Principal
from domain.strategies.apex import ExitReason
from models.bots import Bot, BotState, RunState
from models.columns import new_id
from models.connections import Account
from models.trading import Position
from services import audit
from services.audit import AuditEvent
from services.database import Database
from services.errors import NotRunning
from services.notices import NoticeKind, tell
from services.orders.due_exits import has_keys
from services.orders.exit_requests import COMMAND
from services.refusals import unless_refused
from services.trading.ending import change_state, end_entries, live_runs
from services.trading.figures import LIVE_POSITIONS
from services.trading.removed_keys import REASON
from services.trading.run_closing import request_close
from services.trading.sends import wait_for_entry_sends
from services.trading.starting import (
    READY_SECONDS,
    Starting,
    StartRequest,
    claim_bot,
    lock_bot,
)
from services.trading.user_exits import UserExits
from services.trading.user_protection import UserProtection
from services.trading.writing_off import WritingOff

FLAT_SECONDS_MAX = 5.0
FLAT_LOOK_SECONDS = 0.1

_WITH_EXITS = frozenset({BotSignal.STOP, BotSignal.EMERGENCY_STOP, BotSignal.ORDER_UPDATE})
"""Commands that may have asked positions to leave."""

_log = structlog.get_logger("nija.trading")


@dataclass(frozen=True, slots=True)
class StartResult:
    """A run was made; the bot is about to run."""

    status: str
    message: str
    estimated_ready_seconds: int


@dataclass(frozen=True, slots=True)
class StopResult:
    """Entries have ended; `open_positions` are left to the exits, or to the user."""

    status: str
    message: str
    open_positions: int
    action_required: str | None


@dataclass(frozen=True, slots=True)
class EmergencyResult:
    """Entries are blocked until released."""

    status: str
    positions_closed: int
    positions_closing: int
    message: str


@dataclass(frozen=True, slots=True)
class BotStatusChange:
    """The bot's new state."""

    status: str
    message: str


@dataclass(frozen=True, slots=True)
class CloseResult:
    """A position is being left, or a part of it; `quantity` is that, in the base currency."""

    position_id: UUID
    status: str
    message: str
    quantity: Decimal | None = None


class TradingService:
    """Starting, stopping and steering one user's bot and positions."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        workflows: WorkflowService,
        clock: WallClock,
        *,
        realm: Realm,
        needs_verified_email: bool = False,
    ) -> None:
        self._database = database
        self._venues = venues
        self._workflows = workflows
        self._clock = clock
        self._writing_off = WritingOff(database, venues, clock)
        self._protection = UserProtection(database, venues, clock)
        self._exits = UserExits(database, clock)
        self._starting = Starting(
            database,
            venues,
            workflows,
            clock,
            realm=realm,
            needs_verified_email=needs_verified_email,
        )

    # --- the bot ----------------------------------------------------------------------------

    async def start(
        self,
        principal: Principal,
        *,
        broker: str | None,
        paper_trading: bool | None,
        risk_profile: str | None,
    ) -> StartResult:
        """Begin a new run; what is left out comes from the settings. Raises as `Starting.start`."""
        bot = await self._starting.start(
            principal, StartRequest(broker, paper_trading, risk_profile)
        )
        await self._inform(bot, BotSignal.UPDATE_SETTINGS)
        return StartResult(bot.state, "Trading bot is starting", READY_SECONDS)

    async def stop(
        self, principal: Principal, *, close_positions: bool, emergency: bool
    ) -> StopResult:
        """End entries. Positions are closed on request, else left to their stops and targets.

        Raises:
            NotRunning: no run may enter at present, and there is nothing to close either, or
                closing was not asked for. No entry is on its way then either.
        """
        if emergency:
            stopped = await self.emergency_stop(
                principal, reason="Emergency stop requested", close_positions=close_positions
            )
            left = await self._count_positions(principal.user_id)
            return StopResult(stopped.status, stopped.message, left, _advice(left, close_positions))
        async with (
            self._refused_once_still(principal.user_id),
            self._database.for_user(principal.user_id) as session,
        ):
            bot = await lock_bot(session, principal.user_id)
            reason = ExitReason.BOT_STOPPED if close_positions else None
            if bot is None:
                raise NotRunning
            if BotState(bot.state).has_entering_run:
                await self._end_entries(session, bot, BotState.STOPPED, "stopped")
                closing = await _request_close(session, bot, reason)
            else:
                # What an earlier stop left to its exits may still be closed; the state, which may
                # be an emergency stop, is not this command's to change then.
                closing = await _request_close(session, bot, reason)
                if not closing:
                    raise NotRunning
                bot.revision += 1
                session.add(bot)
            self._audit(session, principal, AuditEvent.TRADING_STOPPED, close=close_positions)
        await self._inform(bot, BotSignal.STOP)
        await asyncio.gather(
            self._wait_for_sends(principal.user_id), self._wait_flat(principal.user_id, closing)
        )
        left = await self._count_positions(principal.user_id)
        return StopResult(bot.state, "Trading bot stopped", left, _advice(left, close_positions))

    async def emergency_stop(
        self, principal: Principal, *, reason: str, close_positions: bool
    ) -> EmergencyResult:
        """Block entries until released; closes positions on request; works on a stopped bot too."""
        async with self._database.for_user(principal.user_id) as session:
            bot = await claim_bot(session, principal.user_id, self._clock.now())
            await self._end_entries(
                session, bot, BotState.EMERGENCY_STOPPED, f"emergency stop: {reason}"
            )
            closing = await _request_close(
                session, bot, ExitReason.EMERGENCY_STOP if close_positions else None
            )
            self._audit(session, principal, AuditEvent.EMERGENCY_STOP, reason=reason)
            await tell(
                session,
                principal.user_id,
                NoticeKind.EMERGENCY_STOP,
                f"{bot.id.hex}:{bot.revision}",
                now=self._clock.now(),
                facts={"reason": reason, "positions_are_closed": close_positions},
            )
        await self._inform(bot, BotSignal.EMERGENCY_STOP)
        _sends, still_open = await asyncio.gather(
            self._wait_for_sends(principal.user_id), self._wait_flat(principal.user_id, closing)
        )
        return EmergencyResult(
            status=bot.state,
            positions_closed=len(closing) - still_open,
            positions_closing=still_open,
            message="Emergency stop activated",
        )

    async def release(self, principal: Principal, *, reason: str) -> BotStatusChange:
        """Lift the user's own emergency stop; the bot is then stopped, not started.

        Raises:
            NotRunning: there is no emergency stop to release.
        """
        async with self._database.for_user(principal.user_id) as session:
            bot = await lock_bot(session, principal.user_id)
            if bot is None or bot.state != BotState.EMERGENCY_STOPPED:
                raise NotRunning("There is no emergency stop to release")
            self._change(session, bot, BotState.STOPPED)
            self._audit(session, principal, AuditEvent.EMERGENCY_RELEASED, reason=reason)
        await self._inform(bot, BotSignal.UPDATE_SETTINGS)
        return BotStatusChange(bot.state, "Emergency stop released")

    async def pause(self, principal: Principal) -> BotStatusChange:
        """Stop entries for a while; exits go on.

        Raises:
            NotRunning: the bot does not run, and no entry is on its way.
        """
        async with (
            self._refused_once_still(principal.user_id),
            self._database.for_user(principal.user_id) as session,
        ):
            bot = await _running_bot(session, principal.user_id)
            if bot.state != BotState.PAUSED:
                self._change(session, bot, BotState.PAUSED)
                self._audit(session, principal, AuditEvent.TRADING_PAUSED)
        await self._inform(bot, BotSignal.PAUSE)
        await self._wait_for_sends(principal.user_id)
        return BotStatusChange(bot.state, "Trading bot paused")

    async def resume(self, principal: Principal) -> BotStatusChange:
        """Let a paused run enter again.

        Raises:
            NotRunning: the bot does not run.
        """
        async with self._database.for_user(principal.user_id) as session:
            bot = await _running_bot(session, principal.user_id)
            if bot.state == BotState.PAUSED:
                self._change(session, bot, BotState.RUNNING)
                self._audit(session, principal, AuditEvent.TRADING_RESUMED)
        await self._inform(bot, BotSignal.RESUME)
        return BotStatusChange(bot.state, "Trading bot resumed")

    async def settings_changed(self, principal: Principal) -> None:
        """Tell the bot that settings are new; a user without a bot needs no telling."""
        async with self._database.for_user(principal.user_id) as session:
            bot = await lock_bot(session, principal.user_id)
            if bot is None:
                return
            bot.revision += 1
            session.add(bot)
        await self._inform(bot, BotSignal.UPDATE_SETTINGS)

    async def connection_removed(self, principal: Principal, connection_id: UUID) -> None:
        """Make the runs on a connection that is being removed exit-only."""
        async with self._database.for_user(principal.user_id) as session:
            bot = await lock_bot(session, principal.user_id)
            account = (
                await session.exec(select(Account).where(Account.connection_id == connection_id))
            ).one_or_none()
            if account is None or bot is None:
                return
            runs = await live_runs(session, bot.id, account.id)
            entering = any(run.state == RunState.ENTERING for run in runs)
            for run in runs:
                run.state, run.end_reason = RunState.EXIT_ONLY, REASON
                session.add(run)
            if entering and bot.state != BotState.EMERGENCY_STOPPED:
                self._change(session, bot, BotState.STOPPED)
        if runs:
            await self._inform(bot, BotSignal.STOP)
        # Also where no run is left: who ended them may still be waiting.
        await self._wait_for_sends(principal.user_id)

    # --- positions --------------------------------------------------------------------------

    async def close_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        percent: Decimal | None = None,
        quantity: Decimal | None = None,
        command_id: UUID | None = None,
    ) -> CloseResult:
        """Leave one position at the market, or a part of it; as `UserExits.close`."""
        asked = await self._exits.close(
            principal,
            position_id,
            percent=percent,
            quantity=quantity,
            command_id=command_id or new_id(),
        )
        await self._inform(asked.bot, BotSignal.ORDER_UPDATE)
        status, subject = (
            ("closing", "The position") if asked.is_all else ("reducing", "A part of the position")
        )
        return CloseResult(position_id, status, f"{subject} is being closed", asked.quantity)

    async def write_off_position(self, principal: Principal, position_id: UUID) -> CloseResult:
        """Close in the books what cannot be sold; raises as `WritingOff.write_off`."""
        bot = await self._writing_off.write_off(principal, position_id)
        await self._inform(bot, BotSignal.ORDER_UPDATE)
        return CloseResult(position_id, "written_off", "The position was written off")

    async def modify_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        stop_loss: Decimal | None,
        take_profit: Decimal | None,
    ) -> None:
        """Replace the stop, the remaining targets, or both; raises as `UserProtection.modify`."""
        await self._protection.modify(
            principal, position_id, stop_loss=stop_loss, take_profit=take_profit
        )

    # --- parts ------------------------------------------------------------------------------

    def _change(self, session: AsyncSession, bot: Bot, state: BotState) -> None:
        change_state(session, bot, state, self._clock.now())

    async def _end_entries(
        self, session: AsyncSession, bot: Bot, state: BotState, reason: str
    ) -> None:
        await end_entries(session, bot, state, reason, self._clock.now())

    def _audit(
        self, session: AsyncSession, principal: Principal, event: AuditEvent, **meta: object
    ) -> None:
        audit.record(session, event, user_id=principal.user_id, at=self._clock.now(), meta=meta)

    async def _inform(self, bot: Bot, signal: BotSignal) -> None:
        try:
            if signal in _WITH_EXITS:
                # The exits worker sees the rows; its workflow says nothing of the bot's.
                await unless_refused(self._workflows.wake_exits(bot.user_id, bot.id), bot_id=bot.id)
            await self._workflows.signal_bot(
                bot.user_id, bot.id, signal, Nudge(revision=bot.revision)
            )
        except WorkflowServiceUnavailable:
            # The row says it all; the sweeper tells the workflow as soon as it can be told.
            _log.warning("command.not_delivered", bot_id=str(bot.id), signal=signal.value)

    async def _wait_for_sends(self, user_id: UUID) -> int:
        """Let entries that passed their gate before the command come to an end before we answer."""
        return await wait_for_entry_sends(self._database, self._clock, user_id)

    @asynccontextmanager
    async def _refused_once_still(self, user_id: UUID) -> AsyncIterator[None]:
        """Let no command that ends entries say that nothing runs while an entry can still leave."""
        try:
            yield
        except NotRunning:
            await self._wait_for_sends(user_id)
            raise

    async def _wait_flat(self, user_id: UUID, closing: Sequence[UUID]) -> int:
        """Wait some seconds for positions to be flat; how many are not yet."""
        if not closing:
            return 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FLAT_SECONDS_MAX
        while True:
            async with self._database.for_user(user_id) as session:
                left = (
                    await session.exec(
                        select(func.count())
                        .select_from(Position)
                        .where(
                            col(Position.id).in_(closing), col(Position.state).in_(LIVE_POSITIONS)
                        )
                    )
                ).one()
            if not left or loop.time() >= deadline:
                return left
            await asyncio.sleep(FLAT_LOOK_SECONDS)

    async def _count_positions(self, user_id: UUID) -> int:
        """How many positions are open and can be left, of whatever account and run."""
        async with self._database.for_user(user_id) as session:
            return await _count(session, has_keys())


async def _running_bot(session: AsyncSession, user_id: UUID) -> Bot:
    bot = await lock_bot(session, user_id)
    if bot is None or not BotState(bot.state).has_entering_run:
        raise NotRunning
    return bot


async def _request_close(
    session: AsyncSession, bot: Bot, reason: ExitReason | None
) -> Sequence[UUID]:
    """Have every live position of a bot leave; which they are."""
    if reason is None:
        return ()
    return await request_close(session, bot.id, reason, f"{COMMAND}{new_id()}")


async def _count(session: AsyncSession, which: ColumnElement[bool]) -> int:
    """How many of the user's open positions are among some."""
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(Position.state == PositionState.OPEN.value, which)
        )
    ).one()


def _advice(left: int, close_positions: bool) -> str | None:
    if not left:
        return None
    if close_positions:
        return "Positions are still being closed"
    return "Manual position closure recommended; stops and targets stay in force until then"
