"""Following an alert to its end: handed to the bot, decided, traded; and written down."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import EXPIRED, NOT_RUNNING, AlertState
from domain.contracts.alerts import SignalResult
from domain.contracts.bots import BotSignal, Nudge, SignalAction
from domain.orders import Leg
from domain.ports import WallClock, WorkflowService, WorkflowServiceUnavailable
from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from models.alerts import Alert
from models.bots import Bot, BotRun, RunState
from models.trading import ExitRequest, ExitRequestState, Order, Position
from services.database import Database, wait_briefly
from services.orders.latest_exits import latest_exit
from services.orders.unfilled import LOST, unfilled_reason
from services.trading.figures import LIVE_POSITIONS as _LIVE
from services.trading.signal_exits import SignalExits, decide_exits

OUTSIDE_SIGNAL = "outside_signal"
WAIT_SECONDS_MIN = 1.0
WAIT_SECONDS_MAX = 60.0

_EXPIRE = text("""
WITH late AS (
    SELECT id FROM alerts
    WHERE state = 'processing' AND expires_at <= :now
    ORDER BY received_at LIMIT :at_once
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE alerts a SET state = 'expired', reason = 'expired', finished_at = :now
  FROM late WHERE a.id = late.id
RETURNING a.id
""")
_EXPIRE_AT_ONCE = 500

_log = structlog.get_logger("nija.alerts")


@dataclass(frozen=True, slots=True)
class _Look:
    """Where an alert stands, and whether its bot should be told of it."""

    state: AlertState
    reason: str
    wait_seconds: float | None = None
    tell: UUID | None = None


class AlertFollowing:
    """One look at an alert at a time; every look is safe to repeat."""

    def __init__(self, database: Database, workflows: WorkflowService, clock: WallClock) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock

    async def follow(self, user_id: UUID, alert_id: UUID) -> SignalResult:
        """Hand an alert over if nobody has decided on it, or see what came of the decision.

        Raises:
            WorkflowServiceUnavailable: the bot could not be told; nothing is lost.
        """
        now = self._clock.now()
        exits = SignalExits()
        async with self._database.for_user(user_id) as session:
            state = (await session.exec(select(Alert.state).where(Alert.id == alert_id))).first()
            if state is None:
                return SignalResult(state="gone")  # its user was deleted
            waits = False
            if state == AlertState.PROCESSING:
                found = await _decide(session, user_id, now)
                waits = found is None or alert_id in found.waiting
                exits = found or exits
            alert = (
                await session.exec(
                    select(Alert)
                    .where(Alert.id == alert_id)
                    .with_for_update(key_share=True, skip_locked=True)
                    .execution_options(populate_existing=True)
                )
            ).one_or_none()
            if alert is None:  # a decision has it: nothing is waited for with a connection
                return SignalResult(wait_seconds=WAIT_SECONDS_MIN, state=state)
            look = await self._look(session, alert, now, waits=waits)
            if (look.state, look.reason) != (alert.state, alert.reason or ""):
                alert.state, alert.reason = look.state, look.reason
                if not look.state.is_open:
                    alert.finished_at = now
                session.add(alert)
        if exits.bot_id is not None:
            with suppress(WorkflowServiceUnavailable):  # the exits worker sees the rows
                await self._workflows.wake_exits(user_id, exits.bot_id)
        if look.tell is not None:
            await self._workflows.signal_bot(
                user_id, look.tell, BotSignal.ALERT_RECEIVED, Nudge(ids=(alert_id,))
            )
        return SignalResult(
            wait_seconds=look.wait_seconds, state=look.state.value, reason=look.reason
        )

    async def decide_exits(self, user_id: UUID) -> None:
        """Have positions leave that waiting alerts ask for, whether or not a bot can be told."""
        async with self._database.for_user(user_id) as session:
            exits = await _decide(session, user_id, self._clock.now()) or SignalExits()
        if exits.bot_id is not None:
            with suppress(WorkflowServiceUnavailable):
                await self._workflows.wake_exits(user_id, exits.bot_id)

    async def expire(self) -> int:
        """End the alerts that came too late to be acted on, of all users; how many."""
        async with self._database.as_system() as session:
            found = await (await session.connection()).execute(
                _EXPIRE, {"now": self._clock.now(), "at_once": _EXPIRE_AT_ONCE}
            )
            late = len(found.all())
        if late:
            _log.warning("alerts.expired", alerts=late)
        return late

    async def _look(
        self, session: AsyncSession, alert: Alert, now: datetime, *, waits: bool
    ) -> _Look:
        """How an alert gets on; `waits` says that it is, or may be, an exit that has to wait."""
        match AlertState(alert.state):
            case AlertState.PROCESSING:
                return await _undecided(session, alert, now, waits=waits)
            case AlertState.ACCEPTED if alert.duplicate_of is None:
                return await _decided(session, alert, now)
            case state:
                return _Look(state, alert.reason or "")


async def _decide(session: AsyncSession, user_id: UUID, now: datetime) -> SignalExits | None:
    """Decide on the exits that wait; where a row of theirs is locked, the next look does.

    It is not waited for: whoever keeps own rows locked must not keep connections from others.

    Returns:
        What became of them; None where that failed.
    """
    try:
        async with session.begin_nested():
            await wait_briefly(session)
            return await decide_exits(session, user_id, now)
    except DBAPIError as failure:
        _log.warning("alert.exit_waits", error=type(failure).__name__)
        return None


async def _undecided(session: AsyncSession, alert: Alert, now: datetime, *, waits: bool) -> _Look:
    bot_id, state = await _bot_of(session, alert)
    if alert.expires_at <= now:
        return _Look(AlertState.EXPIRED, EXPIRED)
    if state != RunState.ENTERING and alert.action != SignalAction.CLOSE and not waits:
        return _Look(AlertState.REFUSED, NOT_RUNNING)
    left = (alert.expires_at - now).total_seconds()
    wait = min(_delay(alert.received_at, now), left)
    return _Look(AlertState.PROCESSING, "", wait_seconds=wait, tell=bot_id)


async def _bot_of(session: AsyncSession, alert: Alert) -> tuple[UUID | None, str | None]:
    """The user's bot and the state of its latest run."""
    found = (
        await session.exec(
            select(col(Bot.id), col(BotRun.state))
            .join(BotRun, col(BotRun.id) == Bot.current_run_id)
            .where(Bot.user_id == alert.user_id, Bot.kind == "apex")
        )
    ).one_or_none()
    return (None, None) if found is None else (found[0], found[1])


async def _decided(session: AsyncSession, alert: Alert, now: datetime) -> _Look:
    position = await session.get(Position, alert.trade_id)
    if position is None:
        return _Look(AlertState.UNFILLED, alert.reason or "")
    is_entry = position.id == alert.id
    look = await (_entered(session, position) if is_entry else _left(session, alert, position))
    if look.state is AlertState.ACCEPTED:
        wait = _delay(alert.decided_at or alert.received_at, now)
        return replace(look, wait_seconds=wait)
    return look


async def _entered(session: AsyncSession, position: Position) -> _Look:
    """What came of an entry: without a fill, why."""
    match PositionState(position.state):
        case PositionState.PENDING:
            return _Look(AlertState.ACCEPTED, OUTSIDE_SIGNAL)
        case PositionState.CANCELLED:
            order = (
                await session.exec(
                    select(Order).where(
                        Order.position_id == position.id, Order.leg == Leg.ENTRY.value
                    )
                )
            ).first()
            return _Look(AlertState.UNFILLED, _unfilled(order))
        case _:
            return _Look(AlertState.EXECUTED, OUTSIDE_SIGNAL)


def _unfilled(order: Order | None) -> str:
    return LOST if order is None else unfilled_reason(order.state, order.refusal_code)


async def _left(session: AsyncSession, alert: Alert, position: Position) -> _Look:
    """What came of an exit: through once all that it asked for is sold; else why it is not yet."""
    cause, reason = f"signal:{alert.id}", ExitReason.SIGNAL_CLOSE.value
    parts = await _parts(session, cause)
    asked = (
        await session.exec(
            select(Position).where(
                Position.user_id == alert.user_id,
                (col(Position.close_cause) == cause)
                | col(Position.id).in_([part.position_id for part in parts] or [position.id]),
            )
        )
    ).all()
    partly = {part.position_id for part in parts}
    is_open = any(part.state == ExitRequestState.OPEN for part in parts) or any(
        it.id not in partly and it.state in _LIVE for it in asked
    )
    if is_open:
        failure = await _latest_failure(session, [it.id for it in asked if it.state in _LIVE])
        return _Look(AlertState.ACCEPTED, failure or reason)
    denied = [part for part in parts if part.state == ExitRequestState.DENIED]
    if denied and len(denied) == len(parts) and len(asked) == len(parts):
        return _Look(AlertState.UNFILLED, denied[0].refusal_code or reason)
    if all(it.state == PositionState.CANCELLED for it in asked):
        return _Look(AlertState.EXECUTED, "never_opened")
    return _Look(AlertState.EXECUTED, reason)


async def _parts(session: AsyncSession, cause: str) -> Sequence[ExitRequest]:
    """The requests that carry out what one cause asked for."""
    # In two statements: joined, all requests of the user are read for it.
    own = (await session.exec(select(ExitRequest).where(ExitRequest.cause == cause))).all()
    carriers = {it.merged_into for it in own if it.merged_into is not None}
    parts = {it.id: it for it in own if it.merged_into is None}
    if carriers - parts.keys():
        found = await session.exec(select(ExitRequest).where(col(ExitRequest.id).in_(carriers)))
        parts |= {it.id: it for it in found.all()}
    return list(parts.values())


async def _latest_failure(session: AsyncSession, position_ids: Sequence[UUID]) -> str | None:
    """Why the latest exit order of some positions did not end with all of it sold."""
    orders = [
        order
        for position_id in position_ids
        if (order := await latest_exit(session, position_id, has_ended=True)) is not None
    ]
    order = max(orders, key=lambda it: (it.settled_at, it.attempt), default=None)
    if order is None or order.filled_quantity >= order.quantity:
        return None
    return order.refusal_code or f"exit_{order.state}"


def _delay(since: datetime, now: datetime) -> float:
    """Half as long again as it took so far: soon at first, then ever more seldom."""
    waited = (now - since).total_seconds() / 2
    return min(max(waited, WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)
