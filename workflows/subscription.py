"""A user's subscription over time: wait, look, wait. The facts are rows, the timers are here."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.billing import BillingActivities
    from domain.contracts.billing import (
        SUBSCRIPTION_WORKFLOW,
        SubscriptionInput,
        SubscriptionSignal,
    )
    from workflows import policies

TEND = policies.ActivityOptions(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=0,  # unlimited: trials end and payments are missing whatever is down
    ),
)


@workflow.defn(name=SUBSCRIPTION_WORKFLOW)
class SubscriptionWorkflow:
    """Tend, sleep until the next thing is due or somebody calls, continue as new."""

    def __init__(self) -> None:
        self._look_due = False

    @workflow.run
    async def run(self, request: SubscriptionInput) -> None:
        """Live as long as there is a trial, a paid plan or an open command to wait for."""
        while True:
            self._look_due = False
            result = await workflow.execute_activity_method(
                BillingActivities.tend, request, summary="look at the subscription", **TEND
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

    @workflow.signal(name=SubscriptionSignal.LOOK)
    def look(self) -> None:
        """Rows changed, or a command is about to be carried out."""
        self._look_due = True
