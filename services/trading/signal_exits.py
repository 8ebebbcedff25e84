"""Exits that outside signals ask for: committed before anything is asked of a venue.

An alert that leaves a position is decided where it is stored, in that transaction; what could not
be decided there (a row was locked for too long) is decided by the bot's next look at its alerts.
Neither needs a running bot, a plan, market data or working keys: the position is marked, and the
exits worker does the rest. Every position of the bot is reached, whatever account and run it was
opened in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import EXPIRED, NO_POSITION, OVERTAKEN, AlertState, side_left
from domain.contracts.bots import SignalAction, TradeSignal
from domain.money import HUNDRED, ZERO
from domain.positions import Direction, PositionState
from domain.strategies.apex import ExitReason
from models.bots import Bot, BotRun, Decision
from models.connections import Account, Connection, ConnectionStatus
from models.trading import ExitRequestState, Position
from services.alerts.inbox import AlertOutcome, lock_alerts, pending_signals, record_outcomes
from services.markets.last_clock import time_at_venue
from services.orders.exit_requests import asked_for, request_exit
from services.trading.ending import reopen_runs
from services.trading.entering import note_decision
from services.trading.figures import LIVE_POSITIONS, last_prices
from services.trading.starting import lock_bot

BROKER_REMOVED = "broker_removed"
"""The position is of a connection whose keys are gone: nothing can be sold."""


_log = structlog.get_logger("nija.alerts")


@dataclass(frozen=True, slots=True)
class SignalExits:
    """What became of the waiting signals that leave positions.

    Attributes:
        bot_id: whose exits workflow is to be woken, where positions were asked to leave.
        left: the signals that want to enter, or were decided before, in their order; then those
            whose exit could not be asked for.
        decided: how many were decided.
    """

    bot_id: UUID | None = None
    left: tuple[TradeSignal, ...] = ()
    decided: int = 0


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
    bot = await lock_bot(session, user_id)
    run = None
    if bot is not None and bot.current_run_id is not None:
        run = (await session.exec(select(BotRun).where(BotRun.id == bot.current_run_id))).one()
    now = wall if run is None else await time_at_venue(session, run, wall)
    answers = _ExitAnswers(session, bot, run, wall, now, alerts)
    await answers.give({signal.signal_id: signal for signal in waiting}.values())
    await record_outcomes(session, answers.outcomes, wall)
    if bot is not None and answers.requested:
        bot.revision += 1
        session.add(bot)
    return SignalExits(
        bot_id=bot.id if bot is not None and answers.requested else None,
        left=(*answers.left, *answers.failed),
        decided=len(answers.outcomes),
    )


async def leave_by_signal(
    session: AsyncSession, signal: TradeSignal, positions: Sequence[Position], wall: datetime
) -> str | None:
    """Ask positions to leave, whole or the part that a signal says; why not, where none can.

    Args:
        session: a transaction of the positions' user.
        signal: what asks.
        positions: live positions of one account; their rows are locked by the caller.
        wall: wall time.
    """
    account = await session.get_one(Account, positions[0].account_id)
    if await _is_removed(session, account):
        return BROKER_REMOVED
    prices = await last_prices(session, account) if signal.size_usd is not None else {}
    budget = _Part.of(signal, positions[0], prices)
    refusals: list[str] = []
    for position in positions:
        quantity = budget.take(position, await asked_for(session, position.id))
        if quantity is not None and quantity <= ZERO:
            continue
        request = await request_exit(
            session,
            position,
            cause=cause_of(signal),
            reason=ExitReason.SIGNAL_CLOSE,
            wall=wall,
            quantity=quantity,
        )
        if request is not None and request.state == ExitRequestState.DENIED:
            refusals.append(request.refusal_code or ExitRequestState.DENIED.value)
    return refusals[0] if len(refusals) == len(positions) else None


def cause_of(signal: TradeSignal) -> str:
    """What a signal's decision and orders are caused by; unique in a run."""
    return f"signal:{signal.signal_id}"


def leaves(signal: TradeSignal, position: Position) -> bool:
    """Whether a signal takes a position back."""
    side = side_left(signal.action, signal.side)
    return position.symbol == signal.symbol and side in {None, position.side}


@dataclass
class _Part:
    """How much a signal closes: a share of each position, or a quantity of all of them."""

    percent: Decimal | None = None
    quantity: Decimal | None = None

    @classmethod
    def of(cls, signal: TradeSignal, position: Position, prices: Mapping[str, Decimal]) -> _Part:
        """The first of quantity, percent and size that a signal names."""
        if signal.quantity is not None:
            return cls(quantity=signal.quantity)
        if signal.percent is not None:
            return cls(percent=signal.percent)
        if signal.size_usd is not None:
            price = prices.get(position.symbol) or position.decision_price
            return cls(quantity=signal.size_usd / price)
        return cls()

    def take(self, position: Position, asked: Decimal) -> Decimal | None:
        """The quantity that leaves of one position; None is all of it.

        A percentage is of what was not `asked` to leave before, whether or not that was sold yet.
        """
        is_pending = position.state == PositionState.PENDING
        held = position.planned_quantity if is_pending else position.open_quantity
        if self.percent is not None:
            rest = max(ZERO, held - asked)
            return None if self.percent >= HUNDRED else rest * self.percent / HUNDRED
        if self.quantity is None:
            return None
        taken = min(held, self.quantity)
        self.quantity -= taken
        return None if taken == held else taken


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one account holds and was asked to leave: its first position; why not, where none is."""

    position_id: UUID
    refusal: str | None


@dataclass
class _ExitAnswers:
    """The answers to the signals that leave positions, inside one transaction; `now` by the venue.

    One whose rows cannot be read is `failed`: it waits, and keeps no other from leaving.
    """

    session: AsyncSession
    bot: Bot | None
    run: BotRun | None
    wall: datetime
    now: datetime
    alerts: Mapping[UUID, AlertState]
    outcomes: list[AlertOutcome] = field(default_factory=list)
    left: list[TradeSignal] = field(default_factory=list)
    failed: list[TradeSignal] = field(default_factory=list)
    requested: bool = False

    async def give(self, signals: Iterable[TradeSignal]) -> None:
        """Answer what leaves a position; what wants to enter is left."""
        waiting = [
            signal
            for signal in signals
            if self.alerts.get(signal.signal_id, AlertState.PROCESSING) is AlertState.PROCESSING
        ]
        decided = await self._decided(waiting)
        positions = await self._positions({signal.symbol for signal in waiting})
        for signal in waiting:
            if cause_of(signal) in decided:
                self.left.append(signal)
                continue
            leaving = [position for position in positions if leaves(signal, position)]
            if leaving or signal.action is SignalAction.CLOSE:
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
        asked = [await self._ask(signal, positions) for positions in _by_account(leaving)]
        known = [one for one in asked if one is not None]
        done = next((one for one in known if one.refusal is None), None)
        if done is not None:
            self.requested = True
            reason = ExitReason.SIGNAL_CLOSE.value
            self._conclude(signal, AlertState.ACCEPTED, reason, done.position_id)
        elif len(known) < len(asked):
            self.failed.append(signal)
        else:
            refusal = known[0].refusal or ""
            self._conclude(signal, AlertState.REFUSED, refusal, known[0].position_id)

    async def _ask(self, signal: TradeSignal, positions: Sequence[Position]) -> _Asked | None:
        """Ask what one account holds to leave; None where its rows cannot be read.

        Runs that were over exit again: their positions are nobody's else.
        """
        bot, run = self.bot, self.run
        assert bot is not None  # it has positions
        try:
            async with self.session.begin_nested():
                refusal = await leave_by_signal(self.session, signal, positions, self.wall)
                if refusal is None:
                    await reopen_runs(self.session, bot.id)
        except DBAPIError:
            raise  # a lock or a server that is away concerns all of them
        except Exception as failure:  # noqa: BLE001 - a boundary: other accounts and signals go on
            _log.exception(
                "signal.exit_failed",
                signal_id=str(signal.signal_id),
                error=type(failure).__name__,
            )
            for row in (*positions, run):
                await self.session.refresh(row)
            return None
        return _Asked(positions[0].id, refusal)

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
        self, signal: TradeSignal, state: AlertState, reason: str, trade_id: UUID | None = None
    ) -> None:
        if self.bot is not None and self.run is not None:
            self.session.add(
                note_decision(
                    self.bot,
                    self.run,
                    cause=cause_of(signal),
                    symbol=signal.symbol,
                    action="exit" if state is AlertState.ACCEPTED else "none",
                    reason=reason,
                    at=self.now,
                    position_id=trade_id,
                )
            )
        self.outcomes.append(AlertOutcome(signal.signal_id, state, reason, trade_id))

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
        """Lock the bot's live positions of some markets; those of its latest account come first."""
        if self.bot is None or self.run is None:
            return ()
        are_held = (
            (col(BotRun.bot_id) == self.bot.id)
            & col(Position.symbol).in_(symbols)
            & col(Position.state).in_(LIVE_POSITIONS)
        )
        of_run = col(BotRun.id) == col(Position.run_id)
        holding = select(Position.account_id).join(BotRun, of_run).where(are_held)
        # Before the positions, as whoever books a fill.
        await self.session.exec(
            select(Account.id)
            .where(col(Account.id).in_(holding))
            .order_by(col(Account.id))
            .with_for_update(read=True, key_share=True)
        )
        is_other = col(Position.account_id) != self.run.account_id
        return (
            await self.session.exec(
                select(Position)
                .join(BotRun, of_run)
                .where(are_held)
                .order_by(is_other, col(Position.opened_at), col(Position.id))
                .with_for_update(of=Position)
                .execution_options(populate_existing=True)
            )
        ).all()


def _by_account(positions: Sequence[Position]) -> Sequence[Sequence[Position]]:
    """The positions of each account: a part is that of each, no account sells for another."""
    found: dict[UUID, list[Position]] = {}
    for position in positions:
        found.setdefault(position.account_id, []).append(position)
    return list(found.values())


async def _is_removed(session: AsyncSession, account: Account) -> bool:
    if account.connection_id is None:
        return False
    connection = await session.get_one(Connection, account.connection_id)
    return connection.status == ConnectionStatus.REMOVED


def enters(signal: TradeSignal) -> Direction | None:
    """The side that a signal enters on; None for a close."""
    if signal.action is SignalAction.CLOSE:
        return None
    return Direction.LONG if signal.action is SignalAction.BUY else Direction.SHORT
