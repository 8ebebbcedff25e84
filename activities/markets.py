"""The long-lived watch of one venue's prices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import WatchInput, WatchResult

if TYPE_CHECKING:
    from services.markets.watching import VenueWatching


class MarketActivities:
    """Watching, one service call.

    `watching` is None in the main worker: the watch of an installation that had only that one ends
    there at once and goes on in the exits worker.
    """

    def __init__(self, watching: VenueWatching | None) -> None:
        self._watching = watching

    @activity.defn(name="markets.watch")
    async def watch(self, request: WatchInput) -> WatchResult:
        """Judge prices and announce bars for some minutes; the workflow starts it again.

        A worker that is told to stop gives the watch back at once: what it saw is committed.
        """
        if self._watching is None:
            return WatchResult()
        async with heartbeating():
            watching = asyncio.create_task(self._watching.watch(request))
            stopping = asyncio.create_task(activity.wait_for_worker_shutdown())
            try:
                await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
                return watching.result() if watching.done() else WatchResult()
            finally:
                watching.cancel()
                stopping.cancel()
                await asyncio.gather(watching, stopping, return_exceptions=True)
