"""What the routes about alerts need of the container; every dialect may offer them."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request

from services.alerts.intake import AlertIntake
from services.alerts.keys import WebhookKeys
from services.alerts.views import AlertViews


class AlertServices(Protocol):
    """The part of the container that is about alerts."""

    @property
    def alert_intake(self) -> AlertIntake:
        """Receives alerts."""
        ...

    @property
    def webhook_keys(self) -> WebhookKeys:
        """The keys they come with."""
        ...

    @property
    def alert_views(self) -> AlertViews:
        """Received alerts with their outcomes."""
        ...


async def alerts_of(request: Request) -> AlertServices:
    """The container of the application that serves this request."""
    services: AlertServices = request.app.state.services
    return services


Alerts = Annotated[AlertServices, Depends(alerts_of)]
