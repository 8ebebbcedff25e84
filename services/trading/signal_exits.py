"""Exits that outside signals ask for: committed before anything is asked of a venue.

An alert that leaves a position is decided right after it was stored; what could not be decided then
(a position is locked) is decided by the bot's next look at its alerts. Neither needs a running bot,
a plan, market data or working keys: the position is marked, and the exits worker does the rest.
Every position of the bot is reached, whatever account and run it was opened in. None that another
transaction has locked is waited for: the signals that leave it wait, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import (
    ALREADY_LEAVING,
    EXPIRED,
    NO_POSITION,
    OVERTAKEN,
    AlertState,
    side_left,
)
from domain.contracts.bots import SignalAction, TradeSignal
from domain.positions import Direction
from domain.strategies.apex import ExitReason
from models.bots import Bot, BotRun, Decision
from models.connections import Account
from models.trading import Position
from services.alerts.inbox import (
    AlertOutcome,
    keep_positions,
    lock_alerts,
    pending_signals,
    positions_kept,
    record_outcomes,
)
from services.alerts.joining import AskingAlerts
from services.markets.last_clock import time_at_venue
from services.orders.news import have_woken
from services.trading.ending import reopen_runs
from services.trading.entering import note_decision
from services.trading.figures import LIVE_POSITIONS
from services.trading.signal_leaving import Asked, leave_by_signal
from services.trading.starting import APEX

_log = structlog.get_logger("nija.alerts")


@dataclass(frozen=True, slots=True)
class SignalExits:
    """What became of the waiting signals that leave positions.

    Attributes:
        bot_id: whose exits workflow is to be woken, where positions were asked to leave.
        left: the signals that want to enter, or were decided before, in their order; then those
            whose exit could not be asked for.
        waiting: those whose exit could not be asked for, or not of every account: they are exits,
            whatever their action, and nothing else may be decided on them.
        is_locked: whether any of those waits for a row that another transaction has locked.
        decided: how many were decided.
        ended: alerts that need no follower: nothing is to come of them, or another one asks for
            the same.
    """

    bot_id: UUID | None = None
    left: tuple[TradeSignal, ...] = ()
    waiting: frozenset[UUID] = frozenset()
    is_locked: bool = False
    decided: int = 0
    ended: frozenset[UUID] = frozenset()

    def after(self, earlier: SignalExits) -> SignalExits:
        """What became of them in two decisions, of which this is the later one."""
        return replace(
            self,
            bot_id=self.bot_id or earlier.bot_id,
            decided=self.decided + earlier.decided,
            ended=self.ended | earlier.ended,
        )


async def decide_exits(
    session: AsyncSession, user_id: UUID, wall: datetime, signals: Sequence[TradeSignal] = ()
) -> SignalExits:
    """Decide on every waiting signal that leaves a position, in order, and on closes of nothing.

    Args:
        session: a transaction of the user.
        user_id: whose alerts.
        wall: wall time.
        signals: signals that are no alerts; they come before the alerts that wait.
    """
    waiting = (*signals, *await pending_signals(session, user_id, at_once=None))
    if not waiting:
        return SignalExits()
    alerts = await lock_alerts(session, waiting)
    # Not locked: whatever holds it, entries or a process that froze, concerns no exit.
    bot = (
        await session.exec(select(Bot).where(Bot.user_id == user_id, Bot.kind == APEX))
    ).one_or_none()
    run = None
    if bot is not None and bot.current_run_id is not None:
        run = (await session.exec(select(BotRun).where(BotRun.id == bot.current_run_id))).one()
    now = wall if run is None else await time_at_venue(session, run, wall)
    answers = _ExitAnswers(session, bot, run, wall, now, alerts, AskingAlerts(session, user_id))
    await answers.give({signal.signal_id: signal for signal in waiting}.values())
    await record_outcomes(session, answers.outcomes, wall)
    if bot is not None and answers.requested:
        await have_woken(session, bot.id)
    return SignalExits(
        bot_id=bot.id if bot is not None and answers.requested else None,
        left=(*answers.left, *answers.failed),
        waiting=frozenset(signal.signal_id for signal in answers.failed),
        is_locked=answers.is_locked,
        decided=len(answers.outcomes),
        ended=frozenset(it.alert_id for it in answers.outcomes if not it.is_followed),
    )


def cause_of(signal: TradeSignal) -> str:
    """What a signal's decision and orders are caused by; unique in a run."""
    return f"signal:{signal.signal_id}"


def leaves(signal: TradeSignal, position: Position) -> bool:
    """Whether a signal takes a position back."""
    side = side_left(signal.action, signal.side)
    return position.symbol == signal.symbol and side in {None, position.side}


@dataclass
class _ExitAnswers:
    """The answers to the signals that leave positions, inside one transaction; `now` by the venue.

    One whose rows are locked or cannot be read is `failed`: it waits, and keeps no other from
    leaving.
    """

    session: AsyncSession
    bot: Bot | None
    run: BotRun | None
    wall: datetime
    now: datetime
    alerts: Mapping[UUID, AlertState]
    asking: AskingAlerts
    outcomes: list[AlertOutcome] = field(default_factory=list)
    left: list[TradeSignal] = field(default_factory=list)
    failed: list[TradeSignal] = field(default_factory=list)
    requested: bool = False
    is_locked: bool = False
    # Positions that this transaction has locked.
    ours: frozenset[UUID] = frozenset()
    # Of alerts that were tried before: the positions that they leave.
    kept: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)

    async def give(self, signals: Iterable[TradeSignal]) -> None:
        """Answer what leaves a position; what wants to enter is left."""
        waiting = [
            signal
            for signal in signals
            if self.alerts.get(signal.signal_id, AlertState.PROCESSING) is AlertState.PROCESSING
        ]
        decided = await self._decided(waiting)
        self.kept = await positions_kept(self.session, [signal.signal_id for signal in waiting])
        positions = await self._positions({signal.symbol for signal in waiting})
        for signal in waiting:
            if cause_of(signal) in decided:
                self.left.append(signal)
                continue
            leaving = [position for position in positions if leaves(signal, position)]
            kept = self.kept.get(signal.signal_id)
            if kept is not None:
                leaving = [position for position in leaving if position.id in kept]
            if leaving or kept is not None or signal.action is SignalAction.CLOSE:
                await self._leave(signal, leaving)
            else:
                self._overtake(signal, signal.action)
                self.left.append(signal)

    async def _leave(self, signal: TradeSignal, leaving: Sequence[Position]) -> None:
        self._overtake(signal, None)
        if signal.expires_at is not None and self.wall >= signal.expires_at:
            self._conclude(signal, AlertState.EXPIRED, EXPIRED)
            return
        if not leaving:
            self._conclude(signal, AlertState.REFUSED, NO_POSITION)
            return
        accounts = _by_account(leaving)
        free = [them for them in accounts if self.ours.issuperset(it.id for it in them)]
        by_account = [await self._ask(signal, positions) for positions in free]
        asked = [one for account in by_account for one in account or ()]
        new = [one for one in asked if one.refusal is None and one.joins is None]
        joined = [one for one in asked if one.joins is not None]
        reason = ExitReason.SIGNAL_CLOSE.value
        self.requested = self.requested or bool(new)
        if len(free) < len(accounts):
            # Asking again of those that were asked changes nothing.
            self.is_locked = True
            await self._wait(signal, leaving)
        elif new:
            if signal.signal_id in self.alerts:
                self.asking.note(signal.signal_id, [one.target_id for one in new])
            self._conclude(signal, AlertState.ACCEPTED, reason, new[0].position_id)
        elif joined:
            first = joined[0]
            self._conclude(
                signal, AlertState.ACCEPTED, reason, first.position_id, joins=first.joins
            )
        elif None in by_account:
            await self._wait(signal, leaving)
        else:
            refusal = next((one.refusal for one in asked if one.refusal), NO_POSITION)
            self._conclude(signal, AlertState.REFUSED, refusal, leaving[0].id)

    async def _wait(self, signal: TradeSignal, leaving: Sequence[Position]) -> None:
        """Leave a signal to the next look; what is opened until then is none of its positions."""
        if signal.signal_id in self.alerts:
            ids = [position.id for position in leaving]
            await keep_positions(self.session, signal.signal_id, ids)
        self.failed.append(signal)

    async def _ask(self, signal: TradeSignal, positions: Sequence[Position]) -> list[Asked] | None:
        """Ask what one account holds to leave; None where its rows cannot be read.

        Runs that were over exit again: their positions are nobody's else.
        """
        bot, run = self.bot, self.run
        assert bot is not None  # it has positions
        try:
            async with self.session.begin_nested():
                asked = await leave_by_signal(
                    self.session,
                    signal,
                    positions,
                    self.asking,
                    cause=cause_of(signal),
                    wall=self.wall,
                )
                if any(one.refusal is None for one in asked):
                    await reopen_runs(self.session, bot.id)
        except (OperationalError, InterfaceError):
            raise  # a server that is away concerns all of them
        except Exception as failure:  # noqa: BLE001 - a boundary: other accounts and signals go on
            _log.exception(
                "signal.exit_failed",
                signal_id=str(signal.signal_id),
                error=type(failure).__name__,
            )
            for row in (*positions, run):
                await self.session.refresh(row)
            return None
        return asked

    def _overtake(self, signal: TradeSignal, action: SignalAction | None) -> None:
        """What came before an exit and still waits must not enter again after it.

        A signal for the other side overtakes too, whether or not there is anything to leave yet.
        """
        overtaken = [
            earlier
            for earlier in self.left
            if earlier.symbol == signal.symbol and earlier.action is not action
        ]
        for earlier in overtaken:
            self._conclude(earlier, AlertState.REFUSED, OVERTAKEN)
            self.left.remove(earlier)

    def _conclude(
        self,
        signal: TradeSignal,
        state: AlertState,
        reason: str,
        trade_id: UUID | None = None,
        *,
        joins: UUID | None = None,
    ) -> None:
        is_exit = state is AlertState.ACCEPTED and joins is None
        if self.bot is not None and self.run is not None:
            self.session.add(
                note_decision(
                    self.bot,
                    self.run,
                    cause=cause_of(signal),
                    symbol=signal.symbol,
                    action="exit" if is_exit else "none",
                    reason=reason if joins is None else ALREADY_LEAVING,
                    at=self.now,
                    position_id=trade_id,
                )
            )
        self.outcomes.append(AlertOutcome(signal.signal_id, state, reason, trade_id, joins))

    async def _decided(self, signals: Sequence[TradeSignal]) -> set[str]:
        if self.run is None:
            return set()
        causes = [cause_of(signal) for signal in signals]
        found = await self.session.exec(
            select(Decision.cause).where(
                Decision.run_id == self.run.id, col(Decision.cause).in_(causes)
            )
        )
        return set(found.all())

    async def _positions(self, symbols: set[str]) -> Sequence[Position]:
        """The bot's live positions of some markets; those of its latest account come first.

        Those that nothing else has locked, nor their account, are locked: they are `ours`.
        """
        if self.bot is None or self.run is None:
            return ()
        are_held = (
            (col(BotRun.bot_id) == self.bot.id)
            & col(Position.symbol).in_(symbols)
            & col(Position.state).in_(LIVE_POSITIONS)
        )
        of_run = col(BotRun.id) == col(Position.run_id)
        is_other = col(Position.account_id) != self.run.account_id
        statement = (
            select(Position)
            .join(BotRun, of_run)
            .where(are_held)
            .order_by(is_other, col(Position.opened_at), col(Position.id))
            .execution_options(populate_existing=True)
        )
        held = (await self.session.exec(statement)).all()
        if not held:
            return ()
        # Before the positions, as whoever books a fill.
        accounts = await self.session.exec(
            select(Account.id)
            .where(col(Account.id).in_({position.account_id for position in held}))
            .order_by(col(Account.id))
            .with_for_update(read=True, key_share=True, skip_locked=True)
        )
        locking = statement.where(col(Position.account_id).in_(accounts.all()))
        locked = await self.session.exec(locking.with_for_update(of=Position, skip_locked=True))
        self.ours = frozenset(position.id for position in locked.all())
        return held


def _by_account(positions: Sequence[Position]) -> Sequence[Sequence[Position]]:
    """The positions of each account: a part is that of each, no account sells for another."""
    found: dict[UUID, list[Position]] = {}
    for position in positions:
        found.setdefault(position.account_id, []).append(position)
    return list(found.values())


def enters(signal: TradeSignal) -> Direction | None:
    """The side that a signal enters on; None for a close."""
    if signal.action is SignalAction.CLOSE:
        return None
    return Direction.LONG if signal.action is SignalAction.BUY else Direction.SHORT
