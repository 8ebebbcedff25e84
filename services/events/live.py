"""Live updates, put together: what bootstrap builds for each API process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from domain.markets import Realm
from domain.ports import WallClock
from services.events.access import LOGINS_A_MINUTE, Access
from services.events.feeds import Feeds
from services.events.prices import PRICE_SECONDS, Prices
from services.events.reading import SystemReads
from services.reads import Reads

_log = structlog.get_logger("nija.events")


class LiveEvents:
    """Committed events, values at the last price, and who may have them.

    Args:
        system_url: the database as role `nija_system`.
        reads: the read side, for one user's past.
        clock: wall time.
        realm: the kind of venue this installation trades at.
        is_limited: whether logins are; failed ones are where `reads` limits addresses.
    """

    def __init__(
        self,
        system_url: str,
        reads: Reads,
        clock: WallClock,
        *,
        realm: Realm,
        is_limited: bool = True,
    ) -> None:
        self._system_reads = SystemReads(system_url)
        self.reads = reads
        self.clock = clock
        logins = LOGINS_A_MINUTE if is_limited else None
        self.access = Access(self._system_reads, clock, logins_a_minute=logins)
        self.feeds = Feeds(self._system_reads)
        self.prices = Prices(self._system_reads, realm=realm)

    @asynccontextmanager
    async def running(self, *, price_seconds: float = PRICE_SECONDS) -> AsyncIterator[None]:
        """Listen to PostgreSQL and value holdings while the block runs."""
        await self._system_reads.open()
        tasks = [
            asyncio.create_task(self.feeds.run()),
            asyncio.create_task(self.prices.run(seconds=price_seconds)),
        ]
        for task in tasks:
            task.add_done_callback(end_process_with)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._system_reads.close()


def end_process_with(task: asyncio.Task[None]) -> None:
    """A process that has gone deaf must not go on serving: whoever started it starts it again."""
    if not task.cancelled() and (defect := task.exception()) is not None:
        _log.error("events.died", exc_info=defect)
        signal.raise_signal(signal.SIGTERM)
