"""Processes one stored event of the payment provider, however long that takes."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.billing import BillingActivities
    from domain.contracts.billing import (
        STRIPE_EVENT_WORKFLOW,
        StripeEventInput,
        StripeEventResult,
    )
    from workflows.subscription import TEND


@workflow.defn(name=STRIPE_EVENT_WORKFLOW)
class StripeEventWorkflow:
    """One for each event id; the event's row tells that it was handled."""

    @workflow.run
    async def run(self, request: StripeEventInput) -> StripeEventResult:
        """Read the event's subject at the provider and store it."""
        return await workflow.execute_activity_method(
            BillingActivities.handle_event, request, summary=request.event_id, **TEND
        )
