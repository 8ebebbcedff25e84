"""Looking after subscriptions, and processing provider events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.billing import (
    StripeEventInput,
    StripeEventResult,
    SubscriptionInput,
    TendResult,
)

if TYPE_CHECKING:
    from services.billing.inbox import EventHandling
    from services.billing.tending import Tending


class BillingActivities:
    """Tending and event handling, one service call each.

    `handling` is None where no payment provider is set up; events wait until one is.
    """

    def __init__(self, tending: Tending, handling: EventHandling | None) -> None:
        self._tending = tending
        self._handling = handling

    @activity.defn(name="billing.tend")
    async def tend(self, request: SubscriptionInput) -> TendResult:
        """Do what is due for a user's subscription; tell when to look again."""
        async with heartbeating():
            return await self._tending.tend(request.user_id)

    @activity.defn(name="billing.handle_event")
    async def handle_event(self, request: StripeEventInput) -> StripeEventResult:
        """Process a stored event."""
        if self._handling is None:
            raise RuntimeError("No payment provider is set up in this worker")
        async with heartbeating():
            return StripeEventResult(summary=await self._handling.handle(request.event_id))
