"""What the routes about notifications need of the container; every dialect may offer them."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request

from services.notifying.assembly import Notifying


class NotificationServices(Protocol):
    """The part of the container that is about notifications."""

    @property
    def notifying(self) -> Notifying:
        """Channels, preferences, what was told, unsubscribing."""
        ...


async def notifying_of(request: Request) -> Notifying:
    """The services of the application that serves this request."""
    services: NotificationServices = request.app.state.services
    return services.notifying


Notifications = Annotated[Notifying, Depends(notifying_of)]
