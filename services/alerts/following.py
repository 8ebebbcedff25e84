"""Following an alert to its end: handed to the bot, decided, traded; and written down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import EXPIRED, NOT_RUNNING, AlertState
from domain.contracts.alerts import SignalResult
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WallClock, WorkflowService
from domain.positions import PositionState
from models.alerts import Alert
from models.bots import Bot, BotRun, RunState
from models.trading import Position
from services.database import Database

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
        async with self._database.for_user(user_id) as session:
            alert = (
                await session.exec(
                    select(Alert).where(Alert.id == alert_id).with_for_update(key_share=True)
                )
            ).one_or_none()
            if alert is None:
                return SignalResult(state="gone")  # its user was deleted
            look = await self._look(session, alert, now)
            if look.state != alert.state:
                alert.state, alert.reason = look.state, look.reason
                if not look.state.is_open:
                    alert.finished_at = now
                session.add(alert)
        if look.tell is not None:
            await self._workflows.signal_bot(
                user_id, look.tell, BotSignal.ALERT_RECEIVED, Nudge(ids=(alert_id,))
            )
        return SignalResult(
            wait_seconds=look.wait_seconds, state=look.state.value, reason=look.reason
        )

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

    async def _look(self, session: AsyncSession, alert: Alert, now: datetime) -> _Look:
        match AlertState(alert.state):
            case AlertState.PROCESSING:
                return await _undecided(session, alert, now)
            case AlertState.ACCEPTED:
                return await _decided(session, alert, now)
            case state:
                return _Look(state, alert.reason or "")


async def _undecided(session: AsyncSession, alert: Alert, now: datetime) -> _Look:
    if alert.expires_at <= now:
        return _Look(AlertState.EXPIRED, EXPIRED)
    bot_id = (
        await session.exec(
            select(Bot.id)
            .join(BotRun, col(BotRun.id) == Bot.current_run_id)
            .where(
                Bot.user_id == alert.user_id,
                Bot.kind == "apex",
                BotRun.state == RunState.ENTERING.value,
            )
        )
    ).one_or_none()
    if bot_id is None:
        return _Look(AlertState.REFUSED, NOT_RUNNING)
    left = (alert.expires_at - now).total_seconds()
    wait = min(_pause(alert.received_at, now), left)
    return _Look(AlertState.PROCESSING, "", wait_seconds=wait, tell=bot_id)


async def _decided(session: AsyncSession, alert: Alert, now: datetime) -> _Look:
    position = await session.get(Position, alert.trade_id)
    reason = alert.reason or ""
    if position is None:
        return _Look(AlertState.UNFILLED, reason)
    is_entry = position.id == alert.id
    match PositionState(position.state):
        case PositionState.PENDING:
            pass
        case PositionState.CANCELLED:
            return _Look(AlertState.UNFILLED, reason)
        case PositionState.CLOSED:
            return _Look(AlertState.EXECUTED, reason)
        case PositionState.OPEN if is_entry:
            return _Look(AlertState.EXECUTED, reason)
    wait = _pause(alert.decided_at or alert.received_at, now)
    return _Look(AlertState.ACCEPTED, reason, wait_seconds=wait)


def _pause(since: datetime, now: datetime) -> float:
    """Half as long again as it took so far: soon at first, then ever more seldom."""
    waited = (now - since).total_seconds() / 2
    return min(max(waited, WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)
