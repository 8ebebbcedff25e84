"""Finding what is to be delivered: notices nobody has looked at, and users nobody is looking at.

Runs beside the sweeper, in one worker process at a time (`services.session_lock`). It only wakes
workflows, so doing it twice, or dying in between, costs nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from domain.notifications import NotificationWorkflows
from domain.ports import WallClock, WorkflowServiceUnavailable
from services.database import Database
from services.notifying.nowhere import settle_nowhere
from services.notifying.scheduling import Scheduling

LATE = timedelta(seconds=30)
"""A workflow that has not looked this long after it meant to is woken."""
AT_ONCE = 500
SCHEDULES_EVERY = timedelta(seconds=60)
TELLING_AT_ONCE = 25

_FIND = text("""
SELECT user_id FROM notices WHERE message_id IS NULL
UNION
SELECT user_id FROM notification_preferences WHERE next_look_at < :late
UNION
SELECT m.user_id FROM messages m
WHERE m.state = 'open' AND m.send_at < :late
  AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = m.id)
LIMIT :at_once
""")

_log = structlog.get_logger("nija.notify")


class Pump:
    """One loop, in the one worker process that holds the lock of chores."""

    def __init__(
        self,
        database: Database,
        workflows: NotificationWorkflows,
        scheduling: Scheduling,
        clock: WallClock,
        *,
        interval_seconds: float,
        has_mail: bool,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._scheduling = scheduling
        self._clock = clock
        self._interval = interval_seconds
        self._has_mail = has_mail
        self._rounds_to_schedules = 0

    async def run(self) -> None:
        """Look until cancelled; a server that is down is tried again at the next round."""
        while True:
            try:
                await self.look()
                await self._schedule()
            except (SQLAlchemyError, OSError, WorkflowServiceUnavailable) as failure:
                _log.warning("notify.pump_failed", error=type(failure).__name__)
            except Exception as failure:  # noqa: BLE001 - a boundary: bots trade beside
                _log.exception("notify.pump_failed", error=type(failure).__name__)
            await asyncio.sleep(self._interval)

    async def look(self) -> int:
        """Wake the delivery workflow of every user for whom there is something to do.

        Returns:
            How many users that were.
        """
        users = await self._find()
        gate = asyncio.Semaphore(TELLING_AT_ONCE)

        async def wake(user_id: UUID) -> None:
            async with gate:
                with suppress(WorkflowServiceUnavailable):
                    await self._workflows.wake_notifier(user_id)

        await asyncio.gather(*(wake(user_id) for user_id in users))
        return len(users)

    async def _find(self) -> list[UUID]:
        async with self._database.as_system() as session:
            connection = await session.connection()
            now = self._clock.now()
            await settle_nowhere(session, now, has_mail=self._has_mail)
            found = await connection.execute(_FIND, {"late": now - LATE, "at_once": AT_ONCE})
            return list(found.scalars())

    async def _schedule(self) -> None:
        if self._rounds_to_schedules <= 0:
            await self._scheduling.sweep()
            self._rounds_to_schedules = round(SCHEDULES_EVERY.total_seconds() / self._interval)
        self._rounds_to_schedules -= 1
