"""Telling bots of each closed bar, and noting their scans between bars: the main worker's work.

How far prices were judged is read from what the watch has stored, so that stops are judged by a bar
before bots decide on it, and nothing of this is the exits worker's. Which bar was announced last is
a row of its own, written once all bots were told: the process that goes on after one that died on
the way tells them again, which costs a look that finds nothing new. Bots that cannot be told are
tried again until the next bar.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from domain.contracts.bots import BotSignal, Nudge
from domain.markets import Realm, VenueKey
from domain.ports import Venues, WorkflowService, WorkflowServiceUnavailable
from domain.strategies.apex import BAR
from models.bots import Bot, BotRun, RunState
from models.markets import AnnouncedBar, VenueState
from services.database import Database
from services.isolation import isolated

LOOK_SECONDS = 0.25
FAILED_SECONDS = 1.0
"""Until the next look after one that failed."""

TELLING_AT_ONCE = 50
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 30.0
"""Between two tries to tell bots that could not be told."""

BotId = tuple[UUID, UUID]
"""User and bot."""

_log = structlog.get_logger("nija.bars")


@dataclass(slots=True)
class _Telling:
    """A bar that is being announced.

    Attributes:
        bar: its epoch and when it closed.
        untold: the bots that are still to be told.
        delay: seconds until the next try.
        again_at: when that is, by the loop's clock.
    """

    bar: tuple[str, datetime]
    untold: set[BotId]
    delay: float
    again_at: float = 0.0


class BarAnnouncing:
    """Announces the bars of all venues of an installation.

    Run it where no other process does (`services.session_lock`): two at once do no harm, but tell
    bots twice.
    """

    def __init__(
        self,
        database: Database,
        venues: Venues,
        workflows: WorkflowService,
        *,
        realm: Realm,
        scan_length: timedelta,
        interval_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._database = database
        self._venues = venues
        self._workflows = workflows
        self._realm = realm
        self._scan_length = scan_length
        self._interval = interval_seconds
        self._telling: dict[VenueKey, _Telling] = {}
        self._scanned_at: dict[VenueKey, datetime] = {}

    async def run(self) -> None:
        """Announce the bars of every venue until cancelled."""
        async with asyncio.TaskGroup() as group:
            for venue in self._venues.supported():
                group.create_task(self._keep(VenueKey(venue, self._realm)))

    async def _keep(self, key: VenueKey) -> None:
        while True:
            delay = FAILED_SECONDS
            with isolated("bars.look_failed", venue=key):
                await self.look(key)
                delay = self._interval
            await asyncio.sleep(delay)

    async def look(self, key: VenueKey) -> None:
        """Tell bots of the newest bar that has closed, unless they were told before.

        Of several that closed since the last look only the newest is told of: a bot finds what it
        missed.
        """
        async with self._database.as_system() as session:
            state = await session.get(VenueState, (key.venue, key.realm.value))
            announced = await session.get(AnnouncedBar, (key.venue, key.realm.value))
        if state is None:
            return
        if state.judged_until is not None:
            bar = state.epoch, BAR.floor(state.judged_until)
            if announced is None or (announced.epoch, announced.closed_at) != bar:
                await self._announce(key, bar)
        await self._note_scans(key, state.clock_at)

    async def _announce(self, key: VenueKey, bar: tuple[str, datetime]) -> None:
        loop, telling = asyncio.get_running_loop(), self._telling.get(key)
        if telling is None or telling.bar != bar:
            telling = _Telling(bar, await self._bots(key), RETRY_SECONDS_FIRST)
            self._telling[key] = telling
        if loop.time() < telling.again_at:
            return
        telling.untold = await self._tell(telling.untold, bar[1])
        if telling.untold:
            _log.warning("bars.bots_not_told", venue=str(key), bots=len(telling.untold))
            telling.again_at = loop.time() + telling.delay
            telling.delay = min(telling.delay * 2, RETRY_SECONDS_MAX)
        else:
            await self._store(key, *bar)

    async def _note_scans(self, key: VenueKey, now: datetime) -> None:
        """Bots whose next scan is due had nothing new to look at: the watch's look was their scan.

        A bar's close wakes a bot; between bars there is nothing that could change its mind, and
        waking hundreds of workflows to learn that would cost more than it tells. A bot whose row is
        locked at this moment is noted later.
        """
        if self._scanned_at.get(key) == now:
            return
        running = select(BotRun.bot_id).where(
            BotRun.venue == key.venue,
            BotRun.realm == key.realm.value,
            BotRun.state == RunState.ENTERING.value,
        )
        due = (
            select(Bot.id)
            .where(col(Bot.id).in_(running), col(Bot.next_scan_at) <= now)
            .order_by(col(Bot.id))
            .with_for_update(key_share=True, skip_locked=True)
        )
        async with self._database.as_system_briefly() as session:
            await session.exec(
                update(Bot)
                .where(col(Bot.id).in_(due))
                .values(last_scan_at=now, next_scan_at=now + self._scan_length)
            )
        self._scanned_at[key] = now

    async def _bots(self, key: VenueKey) -> set[BotId]:
        async with self._database.as_system() as session:
            rows = await session.exec(
                select(col(BotRun.user_id), col(BotRun.bot_id))
                .where(
                    BotRun.venue == key.venue,
                    BotRun.realm == key.realm.value,
                    BotRun.state != RunState.ENDED.value,
                )
                .distinct()
            )
            return set(rows.all())

    async def _tell(self, bots: set[BotId], at: datetime) -> set[BotId]:
        """Wake bots; those that could not be."""
        gate, told = asyncio.Semaphore(TELLING_AT_ONCE), set[BotId]()

        async def tell(bot: BotId) -> None:
            async with gate:
                with (
                    isolated("bars.bot_failed", bot_id=bot[1]),
                    suppress(WorkflowServiceUnavailable),
                ):
                    await self._workflows.signal_bot(*bot, BotSignal.BAR_CLOSED, Nudge(at=at))
                    told.add(bot)

        await asyncio.gather(*(tell(bot) for bot in sorted(bots)))
        return bots - told

    async def _store(self, key: VenueKey, epoch: str, closed_at: datetime) -> None:
        values = {"epoch": epoch, "closed_at": closed_at}
        row = insert(AnnouncedBar).values(venue=key.venue, realm=key.realm.value, **values)
        async with self._database.as_system_briefly() as session:
            await session.exec(
                row.on_conflict_do_update(index_elements=["venue", "realm"], set_=values)
            )
