"""Deletes an account, however long that takes: look, wait, look. The facts are rows."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.accounts import AccountActivities
    from domain.contracts.accounts import DELETION_WORKFLOW, DeletionInput
    from workflows import policies

ERASE = policies.ActivityOptions(
    start_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=0,  # unlimited: what was promised is done whatever is down
    ),
)


@workflow.defn(name=DELETION_WORKFLOW)
class AccountDeletionWorkflow:
    """One a user; ends when nothing of the user is left."""

    @workflow.run
    async def run(self, request: DeletionInput) -> None:
        """Erase, sleep until the next thing can be done, continue as new."""
        while True:
            step = await workflow.execute_activity_method(
                AccountActivities.erase, request, summary="delete the account", **ERASE
            )
            workflow.set_current_details(step.summary)
            if step.wait_seconds is None:
                return
            await workflow.sleep(timedelta(seconds=step.wait_seconds))
            if workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX:
                workflow.continue_as_new(request)
