"""The long-lived look at one venue's prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import WatchInput, WatchResult

if TYPE_CHECKING:
    from services.markets.watching import VenueWatching


class MarketActivities:
    """Watching, one service call."""

    def __init__(self, watching: VenueWatching) -> None:
        self._watching = watching

    @activity.defn(name="markets.watch")
    async def watch(self, request: WatchInput) -> WatchResult:
        """Judge prices and announce bars for some minutes; the workflow starts it again."""
        async with heartbeating():
            return await self._watching.watch(request)
