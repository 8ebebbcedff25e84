"""Waking delivery workflows, and making the schedules of reports."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

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

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows, _translated
from domain.contracts.notifications import (
    NOTIFY_WORKFLOW,
    REPORT_WORKFLOW,
    NotifyInput,
    NotifySignal,
    ReportInput,
    notify_workflow_id,
    report_schedule_id,
)
from domain.notifications import Report, ReportTime

CATCH_UP = timedelta(hours=12)
"""A report that was due while nothing ran is made up to this much later."""
_DAYS_A_WEEK = 7


class TemporalNotifications:
    """domain.notifications.NotificationWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def wake_notifier(self, user_id: UUID) -> None:
        """Signal-with-start: one call makes sure the workflow runs and looks."""
        client = await self._workflows.client()
        try:
            await client.start_workflow(
                NOTIFY_WORKFLOW,
                NotifyInput(user_id=user_id),
                id=notify_workflow_id(user_id),
                task_queue=self._task_queue,
                start_signal=NotifySignal.LOOK.value,
                static_summary="notifications",
                rpc_timeout=CALL_TIMEOUT,
            )
        except RPCError as failure:
            raise _translated(failure) from failure

    async def schedule_report(self, user_id: UUID, report: Report, time: ReportTime) -> None:
        """Make a schedule, or change the one there is."""
        client = await self._workflows.client()
        schedule_id = report_schedule_id(user_id, report.value)
        schedule = self._schedule(user_id, report, time)
        try:
            try:
                await client.create_schedule(schedule_id, schedule, rpc_timeout=CALL_TIMEOUT)
            except ScheduleAlreadyRunningError:
                handle = client.get_schedule_handle(schedule_id)
                await handle.update(
                    lambda _: ScheduleUpdate(schedule=schedule), rpc_timeout=CALL_TIMEOUT
                )
        except RPCError as failure:
            raise _translated(failure) from failure

    async def cancel_report(self, user_id: UUID, report: Report) -> None:
        """Delete a schedule."""
        client = await self._workflows.client()
        handle = client.get_schedule_handle(report_schedule_id(user_id, report.value))
        try:
            await handle.delete(rpc_timeout=CALL_TIMEOUT)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise _translated(failure) from failure

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
                    )
                ],
                time_zone_name=time.timezone,
            ),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        )
