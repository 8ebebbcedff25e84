"""Waking delivery workflows, and making the schedules of reports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from uuid import UUID
from zoneinfo import ZoneInfo

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from adapters.clock import SystemClock
from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.notifications import (
    NOTIFY_WORKFLOW,
    REPORT_WORKFLOW,
    NotifyInput,
    NotifySignal,
    ReportInput,
    notify_workflow_id,
    report_schedule_id,
)
from domain.notifications import Report, ReportTime, ReportTimeRefused

CATCH_UP = timedelta(hours=12)
"""A report that was due while nothing ran is made up to this much later."""
DAYS_AHEAD = 10 * 365
"""How far changes to summer time are looked ahead for when a schedule is made."""
_DAYS_A_WEEK = 7


class TemporalNotifications:
    """domain.notifications.NotificationWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def wake_notifier(self, user_id: UUID) -> None:
        """Signal-with-start: one call makes sure the workflow runs and looks."""
        async with self._workflows.answering() as client:
            await client.start_workflow(
                NOTIFY_WORKFLOW,
                NotifyInput(user_id=user_id),
                id=notify_workflow_id(user_id),
                task_queue=self._task_queue,
                start_signal=NotifySignal.LOOK.value,
                static_summary="notifications",
                rpc_timeout=CALL_TIMEOUT,
            )

    async def schedule_report(self, user_id: UUID, report: Report, time: ReportTime) -> None:
        """Make a schedule, or change the one there is."""
        schedule_id = report_schedule_id(user_id, report.value)
        schedule = self._schedule(user_id, report, time)
        async with self._workflows.answering() as client:
            try:
                try:
                    await client.create_schedule(schedule_id, schedule, rpc_timeout=CALL_TIMEOUT)
                except ScheduleAlreadyRunningError:
                    handle = client.get_schedule_handle(schedule_id)
                    await handle.update(
                        lambda _: ScheduleUpdate(schedule=schedule), rpc_timeout=CALL_TIMEOUT
                    )
            except RPCError as failure:
                if failure.status is RPCStatusCode.INVALID_ARGUMENT:
                    raise ReportTimeRefused(f"Temporal does not take {time}") from failure
                raise

    async def cancel_report(self, user_id: UUID, report: Report) -> None:
        """Delete a schedule."""
        async with self._workflows.answering() as client:
            handle = client.get_schedule_handle(report_schedule_id(user_id, report.value))
            try:
                await handle.delete(rpc_timeout=CALL_TIMEOUT)
            except RPCError as failure:
                if failure.status is not RPCStatusCode.NOT_FOUND:
                    raise

    def _schedule(self, user_id: UUID, report: Report, time: ReportTime) -> Schedule:
        every_day = ScheduleRange(0, _DAYS_A_WEEK - 1)
        day = every_day if time.weekday is None else ScheduleRange(time.weekday % _DAYS_A_WEEK)
        return Schedule(
            action=ScheduleActionStartWorkflow(
                REPORT_WORKFLOW,
                ReportInput(user_id=user_id, report=report.value),
                id=f"report:{report.value}:{user_id}",
                task_queue=self._task_queue,
                static_summary=report.value.replace("_", " "),
            ),
            spec=ScheduleSpec(
                calendars=[
                    ScheduleCalendarSpec(
                        hour=[ScheduleRange(time.hour)],
                        minute=[ScheduleRange(time.minute)],
                        day_of_week=[day],
                    ),
                    *(_once(at) for at in instead_of_skipped(time, SystemClock().now().date())),
                ],
                time_zone_name=time.timezone,
            ),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        )


def instead_of_skipped(report: ReportTime, first: date) -> Iterator[datetime]:
    """Local times for the days on which clocks are put forward over a report's time.

    Temporal leaves such days out. The time is moved on by as much as the clocks are.
    """
    zone = ZoneInfo(report.timezone)
    for offset in range(DAYS_AHEAD):
        day = first + timedelta(days=offset)
        if report.weekday in {None, day.isoweekday()}:
            wanted = datetime.combine(day, time_of_day(report.hour, report.minute), zone)
            there_is = wanted.astimezone(UTC).astimezone(zone)
            if (there_is.hour, there_is.minute) != (report.hour, report.minute):
                yield there_is


def _once(at: datetime) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        year=[ScheduleRange(at.year)],
        month=[ScheduleRange(at.month)],
        day_of_month=[ScheduleRange(at.day)],
        hour=[ScheduleRange(at.hour)],
        minute=[ScheduleRange(at.minute)],
    )
