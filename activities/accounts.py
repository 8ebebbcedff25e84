"""Deleting accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.accounts import DeletionInput, DeletionStep

if TYPE_CHECKING:
    from services.identity.erasing import Erasing


class AccountActivities:
    """One service call."""

    def __init__(self, erasing: Erasing) -> None:
        self._erasing = erasing

    @activity.defn(name="accounts.erase")
    async def erase(self, request: DeletionInput) -> DeletionStep:
        """Delete what can be deleted by now; tell when to look again."""
        async with heartbeating():
            return await self._erasing.step(request.user_id)
