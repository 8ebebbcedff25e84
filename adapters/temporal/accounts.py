"""Starting the workflows that delete accounts."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from temporalio.exceptions import WorkflowAlreadyStartedError

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.accounts import DELETION_WORKFLOW, DeletionInput, deletion_workflow_id


class TemporalAccounts:
    """services.identity.deletion.DeletionWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def start_deletion(self, user_id: UUID) -> None:
        """Start the deletion's workflow unless it runs; it does nothing for a finished one."""
        with suppress(WorkflowAlreadyStartedError):
            async with self._workflows.answering() as client:
                await client.start_workflow(
                    DELETION_WORKFLOW,
                    DeletionInput(user_id=user_id),
                    id=deletion_workflow_id(user_id),
                    task_queue=self._task_queue,
                    static_summary="deletion of an account",
                    rpc_timeout=CALL_TIMEOUT,
                )
