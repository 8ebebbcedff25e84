"""What billing's routes need of the container; every dialect may offer them."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request

from services.billing.inbox import EventInbox
from services.billing.subscriptions import Subscriptions
from services.billing.views import BillingViews


class BillingServices(Protocol):
    """The part of the container that is about money."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Commands to the payment provider."""
        ...

    @property
    def billing_views(self) -> BillingViews:
        """Subscription, usage, bills."""
        ...

    @property
    def billing_inbox(self) -> EventInbox:
        """Events of the payment provider."""
        ...


async def billing_of(request: Request) -> BillingServices:
    """The container of the application that serves this request."""
    services: BillingServices = request.app.state.services
    return services


Billing = Annotated[BillingServices, Depends(billing_of)]
