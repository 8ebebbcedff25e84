"""Keeping the schedules of reports as users want them.

A schedule is wanted while its report is switched on and there is somewhere to send it. How it was
last made is kept with the user's preferences, so one look at the database tells which ones differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import select

from domain.notifications import (
    NotificationWorkflows,
    Notifier,
    Report,
    ReportTime,
    ReportTimeRefused,
)
from domain.ports import WallClock, WorkflowServiceUnavailable
from models.notifications import NotificationPreferences
from services.database import Database
from services.isolation import isolated
from services.notifying.planning import lock_preferences
from services.refusals import unless_refused

AT_ONCE = 200
LEASE = timedelta(seconds=60)
"""Longer than making two schedules can take."""

_log = structlog.get_logger("nija.notify")

_WANTED = """
WITH wanted AS (
    SELECT s.user_id, s.daily_summary, s.weekly_report,
        coalesce(p.timezone, 'UTC') AS timezone,
        coalesce(p.report_hour, 8) AS hour, coalesce(p.report_minute, 0) AS minute,
        coalesce(p.weekly_day, 1) AS weekday,
        p.daily_schedule, p.weekly_schedule, p.schedules_leased_until,
        (:has_mail AND s.email_enabled) OR EXISTS (
            SELECT 1 FROM notification_channels c
            WHERE c.user_id = s.user_id AND c.enabled AND c.categories @> '["reports"]'
              AND CASE WHEN c.is_mail THEN s.email_enabled ELSE s.push_enabled END
        ) AS is_reachable
    FROM user_settings s LEFT JOIN notification_preferences p ON p.user_id = s.user_id
), named AS (
    SELECT *,
        CASE WHEN daily_summary AND is_reachable THEN
            to_char(hour, 'FM00') || ':' || to_char(minute, 'FM00') || ' ' || timezone
        END AS daily,
        CASE WHEN weekly_report AND is_reachable THEN
            weekday || ' ' || to_char(hour, 'FM00') || ':' || to_char(minute, 'FM00')
            || ' ' || timezone
        END AS weekly
    FROM wanted
)
SELECT user_id, timezone, hour, minute, weekday, daily, weekly FROM named
WHERE (daily IS DISTINCT FROM daily_schedule OR weekly IS DISTINCT FROM weekly_schedule)
  AND (CAST(:user_id AS uuid) IS NULL OR user_id = :user_id)
LIMIT :at_once
"""


class Scheduling:
    """Makes schedules follow preferences."""

    def __init__(
        self,
        database: Database,
        workflows: NotificationWorkflows,
        notifier: Notifier,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._notifier = notifier
        self._clock = clock

    async def sweep(self) -> int:
        """Put right what differs, of everybody.

        Returns:
            How many users' schedules were made anew.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        differing = await self._differing(None)
        for row in differing:
            user_id = row["user_id"]
            with isolated("notify.not_scheduled", WorkflowServiceUnavailable, user_id=user_id):
                await unless_refused(self._put_right(user_id), user_id=user_id)
        return len(differing)

    async def reconcile(self, user_id: UUID) -> None:
        """Put right what differs, of one user; nothing where another process is at it.

        Raises:
            WorkflowServiceUnavailable: the sweep does it later.
        """
        if await self._differing(user_id):
            await self._put_right(user_id)

    async def _differing(self, user_id: UUID | None) -> Sequence[Mapping[str, Any]]:
        async with self._database.as_system() as session:
            found = await (await session.connection()).execute(
                text(_WANTED),
                {"has_mail": self._notifier.has_mail, "user_id": user_id, "at_once": AT_ONCE},
            )
            return [dict(row) for row in found.mappings()]

    async def _put_right(self, user_id: UUID) -> None:
        """Under a lease, so that what is stored last is also what was made last.

        A time that is refused, say in a zone too new for the workflow service, is this user's
        trouble alone; it is tried again, since a newer service may know it.
        """
        if not await self._lease(user_id):
            return
        for row in await self._differing(user_id):
            time = {"timezone": row["timezone"], "hour": row["hour"], "minute": row["minute"]}
            weekly = ReportTime(**time, weekday=row["weekday"])
            try:
                await self._make(user_id, Report.DAILY_SUMMARY, row["daily"], ReportTime(**time))
                await self._make(user_id, Report.WEEKLY_REPORT, row["weekly"], weekly)
            except ReportTimeRefused as refused:
                _log.error("notify.schedule_refused", user_id=str(user_id), why=str(refused))
                return
            await self._note(user_id, row["daily"], row["weekly"])

    async def _make(
        self, user_id: UUID, report: Report, wanted: str | None, time: ReportTime
    ) -> None:
        if wanted is None:
            await self._workflows.cancel_report(user_id, report)
        else:
            await self._workflows.schedule_report(user_id, report, time)

    async def _lease(self, user_id: UUID) -> bool:
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            row = await lock_preferences(session, user_id, now)
            if row.schedules_leased_until is not None and row.schedules_leased_until > now:
                return False
            row.schedules_leased_until = now + LEASE
            session.add(row)
        return True

    async def _note(self, user_id: UUID, daily: str | None, weekly: str | None) -> None:
        async with self._database.for_user(user_id) as session:
            row = (
                await session.exec(
                    select(NotificationPreferences)
                    .where(NotificationPreferences.user_id == user_id)
                    .with_for_update()
                )
            ).first()
            if row is not None:
                row.daily_schedule, row.weekly_schedule = daily, weekly
                row.schedules_leased_until = None
                session.add(row)
