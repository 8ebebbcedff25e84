"""Keeping every venue watched: a loop of one exits worker at a time, which needs no Temporal.

Stops and targets fire by it, so nothing but the database and the venue may be able to end it. A
workflow of each venue stands for its watch in Temporal, where operators look; its activity looks on
and does nothing that a stop waits for.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from domain.contracts.bots import WatchInput, WatchResult
from domain.markets import Realm, VenueKey
from domain.ports import Venues
from services.markets.watching import VenueWatching

FOLLOW_LENGTH = timedelta(minutes=10)
"""After which the activity ends and the workflow begins a new run: histories stay short."""

RESTART_SECONDS = 1.0

_log = structlog.get_logger("nija.watch")


class WatchKeeping:
    """The watches of all venues of an installation.

    Run it where no other process does (`services.session_lock`): two at once do no harm, but ask
    venues for everything twice.
    """

    def __init__(self, watching: VenueWatching, venues: Venues, *, realm: Realm) -> None:
        self._watching = watching
        self._venues = venues
        self._realm = realm

    async def run(self) -> None:
        """Watch every venue until cancelled."""
        async with asyncio.TaskGroup() as group:
            for venue in self._venues.supported():
                group.create_task(self._keep(VenueKey(venue, self._realm)))

    @property
    def gets_on(self) -> bool:
        """Whether this process has looked at every venue lately."""
        venues = self._venues.supported()
        return all(self._watching.gets_on(VenueKey(it, self._realm)) for it in venues)

    async def follow(self, request: WatchInput) -> WatchResult:
        """Stand for a venue's watch for some minutes; how often this process looked meanwhile."""
        key = VenueKey(request.venue, Realm(request.realm))
        before = self._watching.looks(key)
        await asyncio.sleep(FOLLOW_LENGTH.total_seconds())
        return WatchResult(looks=self._watching.looks(key) - before)

    async def _keep(self, key: VenueKey) -> None:
        while True:
            try:
                await self._watching.watch(key)
            except Exception as failure:  # noqa: BLE001 - a boundary: the watch begins again
                _log.exception("watch.broke_off", venue=str(key), error=type(failure).__name__)
            await asyncio.sleep(RESTART_SECONDS)
