"""Follows one alert to its end, however long that takes. The facts are rows, the timer is here."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signal import SignalActivities
    from domain.contracts.alerts import SIGNAL_WORKFLOW, SignalInput, SignalResult
    from workflows import policies


@workflow.defn(name=SIGNAL_WORKFLOW)
class SignalWorkflow:
    """Look, and look again until the alert is at its end. Nearly always one look is enough.

    A look is a local activity: six events a workflow instead of eleven. It may run twice, which
    changes nothing.
    """

    @workflow.run
    async def run(self, request: SignalInput) -> SignalResult:
        """Hand the alert to the bot if nobody has, wait for its decision and what came of it."""
        while True:
            result = await workflow.execute_local_activity_method(
                SignalActivities.follow, request, **policies.LOOK
            )
            if result.wait_seconds is None:
                return result
            if workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX:
                workflow.continue_as_new(request)  # the next run begins with a look
            await workflow.sleep(timedelta(seconds=result.wait_seconds))
