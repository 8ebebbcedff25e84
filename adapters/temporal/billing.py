"""Delivering messages to the workflows of billing."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from adapters.temporal.client import CALL_TIMEOUT, TemporalWorkflows
from domain.contracts.billing import (
    STRIPE_EVENT_WORKFLOW,
    SUBSCRIPTION_WORKFLOW,
    StripeEventInput,
    SubscriptionInput,
    SubscriptionSignal,
    stripe_event_workflow_id,
    subscription_workflow_id,
)


class TemporalBilling:
    """domain.billing.BillingWorkflows on the shared Temporal client."""

    def __init__(self, workflows: TemporalWorkflows, task_queue: str) -> None:
        self._workflows = workflows
        self._task_queue = task_queue

    async def wake_subscription(self, user_id: UUID) -> None:
        """Signal-with-start: one call makes sure the workflow runs and looks."""
        async with self._workflows.answering() as client:
            await client.start_workflow(
                SUBSCRIPTION_WORKFLOW,
                SubscriptionInput(user_id=user_id),
                id=subscription_workflow_id(user_id),
                task_queue=self._task_queue,
                start_signal=SubscriptionSignal.LOOK.value,
                static_summary="subscription",
                rpc_timeout=CALL_TIMEOUT,
            )

    async def process_event(self, event_id: str) -> None:
        """Start the event's workflow unless it runs; it does nothing for a handled event."""
        with suppress(WorkflowAlreadyStartedError):
            async with self._workflows.answering() as client:
                await client.start_workflow(
                    STRIPE_EVENT_WORKFLOW,
                    StripeEventInput(event_id=event_id),
                    id=stripe_event_workflow_id(event_id),
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    task_queue=self._task_queue,
                    static_summary="payment event",
                    rpc_timeout=CALL_TIMEOUT,
                )
