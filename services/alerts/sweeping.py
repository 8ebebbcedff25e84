"""Finding alerts that nobody is at: after a crash, or while the workflow service was down."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, select

from domain.alerts import OPEN_STATES, AlertWorkflows
from domain.ports import WallClock
from models.alerts import Alert
from services.alerts.following import AlertFollowing
from services.database import Database

LATE = timedelta(seconds=5)
"""Following begins within this, unless it was lost."""

AT_ONCE = 200


class AlertSweep:
    """One round of looking; the worker's sweeper calls it."""

    def __init__(
        self,
        database: Database,
        workflows: AlertWorkflows,
        following: AlertFollowing,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._following = following
        self._clock = clock

    async def sweep(self) -> int:
        """End what came too late; start following every other open alert that nobody is at.

        Returns:
            How many were to be followed; those that are followed already stay as they are.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        await self._following.expire()
        async with self._database.as_system() as session:
            alerts = (
                await session.exec(
                    select(col(Alert.user_id), col(Alert.id))
                    .where(
                        col(Alert.state).in_([state.value for state in OPEN_STATES]),
                        Alert.received_at < self._clock.now() - LATE,
                    )
                    .order_by(col(Alert.state).desc(), col(Alert.received_at).desc())
                    .limit(AT_ONCE)
                )
            ).all()
        for user_id, alert_id in alerts:
            await self._workflows.follow_alert(user_id, alert_id, delay_seconds=0)
        return len(alerts)
