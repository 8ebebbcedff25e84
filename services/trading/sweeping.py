"""The sweeper: starts or tells every workflow that disagrees with its row, and reconciles accounts.

One worker process sweeps at a time (`services.session_lock`). It is what turns a lost
signal, a lost workflow start or a crash between commit and signal into a delay of some seconds. So
nothing that takes its time keeps a round: accounts are reconciled beside the rounds, and what waits
for a server within one has a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.contracts.bots import BotSignal, Nudge
from domain.markets import Realm, VenueKey
from domain.ports import (
    Venues,
    VenueUnavailable,
    WallClock,
    WorkflowService,
    WorkflowServiceUnavailable,
)
from models.bots import Bot, BotRun, RunState
from models.trading import Trigger, TriggerState
from services.database import Database
from services.orders.reconciling import Reconciling
from services.refusals import unless_refused

NO_PROGRESS = timedelta(seconds=400)
"""A bot with a live run wakes at least every 150 s; one silent for longer is woken."""

TELLING_AT_ONCE = 25
PARTS_AT_ONCE = 4
PART_SECONDS_MAX = 20.0
"""How long one part of a round may take; the next round goes on with what it left."""

ROUND_SECONDS_MAX = 100.0
"""After which a round counts as one that never ends; longer than all its parts may take."""

_log = structlog.get_logger("nija.sweep")


class Chore(Protocol):
    """Work that nobody else is at: found in the rows, safe to repeat, quick."""

    async def sweep(self) -> int:
        """Do one round; how much there was to do."""
        ...


class Sweeper:
    """One loop, in the one worker process that holds the lock of chores."""

    def __init__(
        self,
        database: Database,
        workflows: WorkflowService,
        venues: Venues,
        reconciling: Reconciling,
        clock: WallClock,
        *,
        realm: Realm,
        interval_seconds: float,
        chores: Sequence[Chore] = (),
        no_progress: timedelta = NO_PROGRESS,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._venues = venues
        self._reconciling = reconciling
        self._chores = tuple(chores)
        self._clock = clock
        self._realm = realm
        self._interval = interval_seconds
        self._no_progress = no_progress
        self._first = True
        self._round_at: float | None = None

    @property
    def gets_on(self) -> bool:
        """Whether rounds began here and end."""
        now = asyncio.get_running_loop().time()
        longest = self._interval + ROUND_SECONDS_MAX
        return self._round_at is not None and now - self._round_at <= longest

    async def run(self) -> None:
        """Sweep and reconcile until cancelled; a server that is down is tried again."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._sweep_on())
            loops.create_task(self._reconciling.run(self._interval))

    async def _sweep_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._round_at = loop.time()
            is_whole = await self.sweep()
            await asyncio.sleep(self._interval if is_whole else min(self._interval, 1.0))

    async def sweep(self) -> bool:
        """One round; the first wakes every live bot: starting and recovering are one path.

        Returns:
            Whether all of it was done. A part that cannot do its work now (its server is away, or
            slow) does not keep the others from theirs.
        """
        engine = (self._watch, self._wake_bots)
        chores = [chore.sweep for chore in self._chores]
        gate = asyncio.Semaphore(PARTS_AT_ONCE)
        done = await asyncio.gather(*(self._try(part, gate) for part in (*engine, *chores)))
        if all(done[: len(engine)]):
            self._first = False
        return all(done)

    async def _try(self, part: Callable[[], Awaitable[object]], gate: asyncio.Semaphore) -> bool:
        name = getattr(part, "__qualname__", "")
        try:
            async with gate, asyncio.timeout(PART_SECONDS_MAX):
                await part()
        except (SQLAlchemyError, OSError, WorkflowServiceUnavailable, VenueUnavailable) as failure:
            _log.warning("sweep.failed", part=name, error=type(failure).__name__)
            return False
        except Exception as failure:  # noqa: BLE001 - a boundary: the other parts go on
            _log.exception("sweep.failed", part=name, error=type(failure).__name__)
            return False
        return True

    async def _watch(self) -> None:
        for venue in self._venues.supported():
            call = self._workflows.ensure_watch(VenueKey(venue, self._realm))
            await unless_refused(call, venue=venue)

    async def _wake_bots(self) -> None:
        bots = await self._disagreeing(everybody=self._first)
        if bots:
            _log.info("sweep.waking", bots=len(bots), first=self._first)
        await self._wake(bots)

    async def _disagreeing(self, *, everybody: bool) -> Sequence[tuple[UUID, UUID]]:
        live = select(BotRun.bot_id).where(BotRun.state != RunState.ENDED.value)
        fired = select(Trigger.bot_id).where(
            Trigger.state == TriggerState.FIRED.value,
        )
        silent_since = self._clock.now() - self._no_progress
        statement = select(col(Bot.user_id), col(Bot.id)).where(
            (col(Bot.seen_revision) < col(Bot.revision))
            | col(Bot.id).in_(fired)
            | (
                col(Bot.id).in_(live)
                if everybody
                else col(Bot.id).in_(live) & (col(Bot.progressed_at) < silent_since)
            )
        )
        async with self._database.as_system() as session:
            return (await session.exec(statement)).all()

    async def _wake(self, bots: Sequence[tuple[UUID, UUID]]) -> None:
        gate = asyncio.Semaphore(TELLING_AT_ONCE)

        async def wake(user_id: UUID, bot_id: UUID) -> None:
            async with gate:
                try:
                    with suppress(WorkflowServiceUnavailable):
                        await self._workflows.signal_bot(
                            user_id, bot_id, BotSignal.UPDATE_SETTINGS, Nudge()
                        )
                except Exception as failure:  # noqa: BLE001 - a boundary: the other bots go on
                    _log.exception(
                        "sweep.not_woken", bot_id=str(bot_id), error=type(failure).__name__
                    )

        await asyncio.gather(*(wake(user_id, bot_id) for user_id, bot_id in bots))
