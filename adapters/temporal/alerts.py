"""Starting the workflows that follow alerts."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from temporalio.exceptions import WorkflowAlreadyStartedError

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.alerts import SIGNAL_WORKFLOW, SignalInput, signal_workflow_id


class TemporalAlerts:
    """domain.alerts.AlertWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def follow_alert(self, user_id: UUID, alert_id: UUID, *, delay_seconds: float) -> None:
        """Start the alert's workflow unless it runs; its first look ends what is over."""
        with suppress(WorkflowAlreadyStartedError):
            async with self._workflows.answering() as client:
                await client.start_workflow(
                    SIGNAL_WORKFLOW,
                    SignalInput(user_id=user_id, alert_id=alert_id),
                    id=signal_workflow_id(alert_id),
                    task_queue=self._task_queue,
                    start_delay=timedelta(seconds=delay_seconds) if delay_seconds else None,
                    static_summary="alert",
                    rpc_timeout=CALL_TIMEOUT,
                )
