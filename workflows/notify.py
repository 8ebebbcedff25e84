"""Notifications over time: a user's deliveries with their retries, and reports on schedules."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.notify import NotifyActivities
    from domain.contracts.notifications import (
        NOTIFY_WORKFLOW,
        REPORT_WORKFLOW,
        NotifyInput,
        NotifySignal,
        ReportInput,
        ReportResult,
    )
    from workflows import policies

SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

_KEEP_TRYING = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=0,  # unlimited: when a message is given up is decided by its own age
)
DELIVER = policies.ActivityOptions(
    # Sixty deliveries that all time out one after the other.
    start_to_close_timeout=timedelta(minutes=35),
    heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)
REPORT = policies.ActivityOptions(
    start_to_close_timeout=timedelta(minutes=2),
    heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)


@workflow.defn(name=NOTIFY_WORKFLOW)
class NotifyWorkflow:
    """Deliver, sleep until something is due again or somebody calls, end when nothing is left."""

    def __init__(self) -> None:
        self._look_due = False

    @workflow.run
    async def run(self, request: NotifyInput) -> None:
        """Live as long as a message is on its way."""
        while True:
            self._look_due = False
            result = await workflow.execute_activity_method(
                NotifyActivities.deliver, request, summary="send what is due", **DELIVER
            )
            workflow.set_current_details(result.summary)
            if result.wait_seconds is None and not self._look_due:
                return
            if workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX:
                workflow.continue_as_new(request)  # the next run begins with a look
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._look_due, timeout=timedelta(seconds=result.wait_seconds or 0)
                )

    @workflow.signal(name=NotifySignal.LOOK)
    def look(self) -> None:
        """There are new notices, or a report was made."""
        self._look_due = True


@workflow.defn(name=REPORT_WORKFLOW)
class ReportWorkflow:
    """One run for each time a schedule is due."""

    @workflow.run
    async def run(self, request: ReportInput) -> ReportResult:
        """Make the report of the day on which it was due; its delivery is another workflow."""
        due_at = workflow.info().typed_search_attributes.get(SCHEDULED_AT) or workflow.now()
        return await workflow.execute_activity_method(
            NotifyActivities.report,
            request.model_copy(update={"due_at": due_at}),
            summary=request.report,
            **REPORT,
        )
