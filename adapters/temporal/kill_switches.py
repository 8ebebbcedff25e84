"""Starting the workflows of kill switches."""

from __future__ import annotations

from uuid import UUID

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.kill_switches import (
    KILL_SWITCH_WORKFLOW,
    SIGNAL_CHANGED,
    KillSwitchInput,
    kill_switch_workflow_id,
)


class TemporalKillSwitches:
    """domain.ports.KillSwitchWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def tell_of_switch(self, switch_id: UUID) -> None:
        """Signal-with-start: one call makes sure that the workflow runs and looks at the row."""
        async with self._workflows.answering() as client:
            await client.start_workflow(
                KILL_SWITCH_WORKFLOW,
                KillSwitchInput(switch_id=switch_id),
                id=kill_switch_workflow_id(switch_id),
                task_queue=self._task_queue,
                start_signal=SIGNAL_CHANGED,
                static_summary="kill switch",
                rpc_timeout=CALL_TIMEOUT,
            )
