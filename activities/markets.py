"""What stands for the watch of a venue's prices in Temporal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import WatchInput, WatchResult

if TYPE_CHECKING:
    from services.markets.watch_keeping import WatchKeeping


class MarketActivities:
    """Following a watch, one service call.

    `watches` is None in the main worker: the workflow of an installation that had only that one
    goes on in the exits worker.
    """

    def __init__(self, watches: WatchKeeping | None) -> None:
        self._watches = watches

    @activity.defn(name="markets.watch")
    async def watch(self, request: WatchInput) -> WatchResult:
        """Follow the watch of a venue for some minutes; the workflow starts it again.

        The exits workers keep the watch without Temporal, so nothing is lost with this activity.
        """
        if self._watches is None:
            return WatchResult()
        async with heartbeating():
            following = asyncio.create_task(self._watches.follow(request))
            stopping = asyncio.create_task(activity.wait_for_worker_shutdown())
            try:
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
                return following.result() if following.done() else WatchResult()
            finally:
                following.cancel()
                stopping.cancel()
                await asyncio.gather(following, stopping, return_exceptions=True)
