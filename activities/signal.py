"""Following alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from domain.contracts.alerts import SignalInput, SignalResult

if TYPE_CHECKING:
    from services.alerts.following import AlertFollowing


class SignalActivities:
    """One look at an alert, one service call. Called locally: it is short and may be repeated."""

    def __init__(self, following: AlertFollowing) -> None:
        self._following = following

    @activity.defn(name="signals.follow")
    async def follow(self, request: SignalInput) -> SignalResult:
        """Hand the alert over, or see what became of it."""
        return await self._following.follow(request.user_id, request.alert_id)
