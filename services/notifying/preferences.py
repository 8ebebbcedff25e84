"""When and in whose time zone a user gets reports."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import structlog

from domain.notifications import Notifier
from domain.ports import WallClock, WorkflowServiceUnavailable
from domain.principal import Principal
from models.notifications import NotificationPreferences
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidRequest
from services.notifying.planning import lock_preferences
from services.notifying.scheduling import Scheduling

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_log = structlog.get_logger("nija.notify")


@dataclass(frozen=True, slots=True)
class PreferencesView:
    """A user's preferences, and whether and where mails go."""

    timezone: str
    report_time: str
    weekly_day: str
    mail_address: str
    mail_available: bool


class Preferences:
    """Reads and changes preferences.

    Args:
        database: where they live.
        scheduling: makes the schedules follow them.
        notifier: knows whether mails are sent.
        clock: wall time.
    """

    def __init__(
        self, database: Database, scheduling: Scheduling, notifier: Notifier, clock: WallClock
    ) -> None:
        self._database = database
        self._scheduling = scheduling
        self._notifier = notifier
        self._clock = clock

    async def get(self, principal: Principal) -> PreferencesView:
        """The preferences of a user; 08:00 UTC and Mondays unless told otherwise."""
        async with self._database.for_user(principal.user_id) as session:
            row = await session.get(NotificationPreferences, principal.user_id)
            user = await session.get_one(User, principal.user_id)
        return self._view(row or NotificationPreferences(user_id=principal.user_id), user)

    async def change(self, principal: Principal, changes: Mapping[str, Any]) -> PreferencesView:
        """Change some of `timezone`, `report_time` and `weekly_day`; the schedules follow.

        Raises:
            InvalidRequest: no such time zone, time or day.
        """
        values = _checked(changes)
        async with self._database.for_user(principal.user_id) as session:
            row = await lock_preferences(session, principal.user_id, self._clock.now())
            user = await session.get_one(User, principal.user_id)
            for name, value in values.items():
                setattr(row, name, value)
            row.updated_at = self._clock.now()
            session.add(row)
            record(
                session,
                AuditEvent.SETTINGS_CHANGED,
                user_id=principal.user_id,
                at=row.updated_at,
                meta={"fields": sorted(changes)},
            )
        await self._follow(principal.user_id)
        return self._view(row, user)

    async def _follow(self, user_id: UUID) -> None:
        try:
            await self._scheduling.reconcile(user_id)
        except WorkflowServiceUnavailable:
            # The rows say how it is to be; the sweep makes it so.
            _log.warning("notify.schedules_wait", user_id=str(user_id))

    def _view(self, row: NotificationPreferences, user: User) -> PreferencesView:
        return PreferencesView(
            timezone=row.timezone,
            report_time=f"{row.report_hour:02}:{row.report_minute:02}",
            weekly_day=WEEKDAYS[row.weekly_day - 1],
            mail_address=user.email,
            mail_available=self._notifier.has_mail,
        )


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    if "timezone" in changes:
        values["timezone"] = changes["timezone"]
        if changes["timezone"] not in timezones():
            problems["timezone"] = "A name of the IANA time zone database, like Europe/Berlin"
    if "report_time" in changes:
        hour, _, minute = changes["report_time"].partition(":")
        values |= {"report_hour": int(hour), "report_minute": int(minute)}
    if "weekly_day" in changes:
        values["weekly_day"] = WEEKDAYS.index(changes["weekly_day"]) + 1
    if problems:
        raise InvalidRequest(problems)
    return values


@cache
def timezones() -> frozenset[str]:
    """Every name of a time zone that is known here, but those that stand for a machine's own."""
    return frozenset(zoneinfo.available_timezones() - {"Factory", "localtime"})
