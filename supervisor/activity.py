"""What the terminal shows of a running stack, and the shape in which the services tell it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypedDict

INTERVAL_SECONDS = 1.0
EVENTS_MAX = 50

log = logging.getLogger("nija.supervisor")


class ActivityEvent(TypedDict):
    """One thing that happened: a decision, an order, a fill, a change of a bot's state."""

    id: str  # unique and stable: an event is shown once
    at: datetime
    kind: str
    text: str


class Activity(TypedDict):
    """The stack at a glance."""

    bots: dict[str, int]  # state -> how many
    equity: Decimal | None  # of all accounts together, in USD; None where not known yet
    events: list[ActivityEvent]  # the latest, oldest first


class ActivitySource(Protocol):
    """Reads the activity of all users from PostgreSQL."""

    async def __call__(self, system_database_url: str, limit: int) -> Activity:
        """The counts now and at most `limit` of the latest events."""


class Feed:
    """Asks the source again and again, and tells each event once.

    What happened before the first look was told by an earlier start, or is another installation's.
    """

    def __init__(self, source: ActivitySource, system_database_url: str) -> None:
        self._source = source
        self._url = system_database_url
        self._shown: frozenset[str] | None = None

    async def looks(self) -> AsyncIterator[Activity]:
        """One look after the other, each with the events that are new in it."""
        while True:
            look = await self._look()
            if look is not None:
                shown = self._shown
                new = [it for it in look["events"] if shown is not None and it["id"] not in shown]
                # The source tells the latest only, so what it no longer tells can be forgotten.
                self._shown = frozenset(event["id"] for event in look["events"])
                yield {**look, "events": new}
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _look(self) -> Activity | None:
        try:
            return await self._source(self._url, EVENTS_MAX)
        except Exception as failed:  # noqa: BLE001 - a screen must never bring the stack down
            log.debug("no look at the activity: %s", failed)
            return None
