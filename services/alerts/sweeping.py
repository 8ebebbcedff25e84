"""Finding alerts that nobody is at: after a crash, or while the workflow service was down."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import text
from sqlmodel import col, select

from domain.alerts import AlertState, AlertWorkflows
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WallClock, WorkflowService
from models.alerts import FOLLOWED, Alert
from models.bots import Bot
from services.alerts.following import AlertFollowing
from services.database import Database
from services.refusals import unless_refused

UNDECIDED = timedelta(seconds=5)
"""A bot decides within this, unless nobody told it."""

UNFOLLOWED = timedelta(seconds=60)
"""Following begins within this, unless that was lost."""

AT_ONCE = 200


_log = structlog.get_logger("nija.alerts")


class AlertSweep:
    """A part of each round of the worker's sweeper."""

    def __init__(
        self,
        database: Database,
        bots: WorkflowService,
        workflows: AlertWorkflows,
        following: AlertFollowing,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._bots = bots
        self._workflows = workflows
        self._following = following
        self._clock = clock

    async def sweep(self) -> int:
        """End what came too late; start following every other open alert that nobody is at.

        Bots with undecided alerts are told again; alerts that are followed stay as they are.

        Returns:
            How many bots were told and alerts were to be followed.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        await self._following.expire()
        now = self._clock.now()
        async with self._database.as_system() as session:
            undecided = col(Alert.state) == AlertState.PROCESSING.value
            bots = (
                await session.exec(
                    select(col(Bot.user_id), col(Bot.id))
                    .join(Alert, col(Alert.user_id) == Bot.user_id)
                    .where(undecided, Alert.received_at < now - UNDECIDED, Bot.kind == "apex")
                    .distinct()
                )
            ).all()
            alerts = (
                await session.exec(
                    select(col(Alert.user_id), col(Alert.id))
                    .where(
                        text(FOLLOWED),
                        Alert.received_at < now - UNFOLLOWED,
                    )
                    .order_by(col(Alert.state).desc(), col(Alert.received_at).desc())
                    .limit(AT_ONCE)
                )
            ).all()
        for user_id, _bot_id in bots:
            try:
                await self._following.decide_exits(user_id)
            except Exception as failure:  # noqa: BLE001 - a boundary: the other users go on
                # The next round tries again.
                _log.exception("alerts.exits_wait", error=type(failure).__name__)
        for user_id, bot_id in bots:
            call = self._bots.signal_bot(user_id, bot_id, BotSignal.ALERT_RECEIVED, Nudge())
            await unless_refused(call, bot_id=bot_id)
        for user_id, alert_id in alerts:
            call = self._workflows.follow_alert(user_id, alert_id, delay_seconds=0)
            await unless_refused(call, alert_id=alert_id)
        return len(bots) + len(alerts)
