"""Starting the workflows of exports."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.exports import EXPORT_WORKFLOW, ExportInput, export_workflow_id


class TemporalExports:
    """domain.exports.ExportWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def start_export(self, user_id: UUID, export_id: UUID) -> None:
        """Start the export's workflow unless it runs; a row that is over is left alone by it."""
        with suppress(WorkflowAlreadyStartedError):
            async with self._workflows.answering() as client:
                await client.start_workflow(
                    EXPORT_WORKFLOW,
                    ExportInput(user_id=user_id, export_id=export_id),
                    id=export_workflow_id(export_id),
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    task_queue=self._task_queue,
                    static_summary="export",
                    rpc_timeout=CALL_TIMEOUT,
                )
