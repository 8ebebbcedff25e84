"""Finding the exits that are due, and waking the workflows that carry them out.

The exits worker reads the rows some times a second, so nothing that makes an exit due depends on a
signal: a trigger that fired, a command, an alert, a lost plan, a kill switch that is to close
positions. Whoever commits one may wake the workflow at once; what this finds at two polls in a row
was not woken, or not for long enough.

A workflow service that is away, slow or refuses one bot delays no poll: whatever asks it goes on
beside the polls, with a deadline, and its failure is that bot's or venue's alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import union
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.markets import Realm, VenueKey
from domain.ports import Venues, WorkflowService
from models.bots import BotRun
from models.trading import Order, Position
from services.database import Database, all_rows
from services.orders.conditions import is_exit, is_live
from services.orders.due_exits import is_to_leave
from services.trading.kill_switch_closing import ask_covered_positions
from services.trading.run_closing import ask_closing_positions

POLL_SECONDS = 0.25
REMIND_SECONDS = 10.0
"""How long a workflow that was woken is trusted to be at it."""

WATCH_SECONDS = 5.0
"""Between two checks that each venue's price watch runs."""

AGAIN_AT_ONCE = 25
"""Bots whose last waking failed, of which as many are tried at a time; no other waits for them."""

POLL_AGE_SECONDS_MAX = 5.0
"""After which polls that do not come to an end count as none."""

CALL_SECONDS_MAX = 1.0
MOMENT_SECONDS = 0.1
"""How long a poll waits for the wakings that it began."""

BotId = tuple[UUID, UUID]
"""User and bot."""

BotPosition = tuple[UUID, UUID, UUID]
"""User, bot and a position that is to be left."""

_log = structlog.get_logger("nija.exits")


class ExitDispatch:
    """One loop in an exits worker; several of them at once only wake the same workflows twice."""

    def __init__(
        self,
        database: Database,
        workflows: WorkflowService,
        venues: Venues,
        *,
        realm: Realm,
        interval_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._venues = venues
        self._realm = realm
        self._interval = interval_seconds
        # When the workflow was woken for a position; None for one that one poll has seen so far.
        self._woken_at: dict[BotPosition, float | None] = {}
        self._waking: dict[BotId, asyncio.Task[None]] = {}
        self._untold: set[BotId] = set()
        self._again = asyncio.Semaphore(AGAIN_AT_ONCE)
        self._watched_at: float | None = None
        self._polled_at: float | None = None
        self._watching: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll until cancelled; a server that is away is asked again at the next poll."""
        try:
            while True:
                try:
                    await self.poll()
                except (SQLAlchemyError, OSError) as failure:
                    _log.warning("exits.poll_failed", error=type(failure).__name__)
                except Exception as failure:  # noqa: BLE001 - a boundary: prices are watched beside
                    _log.exception("exits.poll_failed", error=type(failure).__name__)
                await asyncio.sleep(self._interval)
        finally:
            beside = [*self._waking.values(), *self._watching]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    @property
    def gets_on(self) -> bool:
        """Whether a poll came to its end lately."""
        now = asyncio.get_running_loop().time()
        return self._polled_at is not None and now - self._polled_at <= POLL_AGE_SECONDS_MAX

    async def poll(self) -> int:
        """Wake every bot with an exit that nobody carries out; how many bots there were."""
        asked = await self._ask()
        now = asyncio.get_running_loop().time()
        due = await self._due()
        bots = asked | {position[:2] for position in due if self._is_left_alone(position, now)}
        self._woken_at = {position: self._woken_at.get(position) for position in due}
        self._untold &= {position[:2] for position in due}
        begun = self._wake(sorted(bots), now) + self._ensure_watched(now)
        if begun:
            await asyncio.wait(begun, timeout=MOMENT_SECONDS)
        self._polled_at = asyncio.get_running_loop().time()
        return len(due)

    async def _ask(self) -> set[BotId]:
        """Ask what switches and stops close; what is due by itself is found though that fails."""
        asked: set[BotId] = set()
        for ask in (ask_covered_positions, ask_closing_positions):
            try:
                asked |= await ask(self._database)
            except Exception as failure:  # noqa: BLE001 - a boundary: the next poll asks again
                _log.exception("exits.not_asked", by=ask.__name__, error=type(failure).__name__)
        return asked

    async def _due(self) -> set[BotPosition]:
        to_leave = (
            select(col(Position.user_id), col(BotRun.bot_id), col(Position.id))
            .join(BotRun, col(BotRun.id) == Position.run_id)
            .where(is_to_leave())
        )
        leaving = select(col(Order.user_id), col(Order.bot_id), col(Order.position_id)).where(
            is_exit(), is_live()
        )
        async with self._database.as_system() as session:
            return set(await all_rows(session, union(to_leave, leaving)))

    def _is_left_alone(self, position: BotPosition, now: float) -> bool:
        """Whether a poll has seen it before, and nothing has been woken for it for long."""
        if position not in self._woken_at:
            return False
        woken_at = self._woken_at[position]
        return woken_at is None or now - woken_at >= REMIND_SECONDS

    def _wake(self, bots: Iterable[BotId], now: float) -> list[asyncio.Task[None]]:
        """Begin to wake bots that are not being woken."""
        positions: defaultdict[BotId, list[BotPosition]] = defaultdict(list)
        for position in self._woken_at:
            positions[position[:2]].append(position)
        begun = []
        for bot in bots:
            if bot not in self._waking:
                task = asyncio.create_task(self._wake_bot(bot, positions[bot], now))
                self._waking[bot] = task
                task.add_done_callback(lambda _, bot=bot: self._waking.pop(bot))  # type: ignore[misc]
                begun.append(task)
        return begun

    async def _wake_bot(self, bot: BotId, positions: Sequence[BotPosition], now: float) -> None:
        """Wake one bot; its exits count as being carried out where that was heard."""
        async with self._again if bot in self._untold else nullcontext():
            is_heard = await _within_time(
                self._workflows.wake_exits(*bot), "exits.not_woken", bot_id=str(bot[1])
            )
        if not is_heard:
            self._untold.add(bot)
            return
        self._untold.discard(bot)
        self._woken_at.update({it: now for it in positions if it in self._woken_at})

    def _ensure_watched(self, now: float) -> list[asyncio.Task[None]]:
        """Begin to make sure, now and then, that the workflow service shows each venue's watch."""
        if self._watched_at is not None and now - self._watched_at < WATCH_SECONDS:
            return []
        self._watched_at = now
        begun = [asyncio.create_task(self._ensure_watch(it)) for it in self._venues.supported()]
        for task in begun:
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)
        return begun

    async def _ensure_watch(self, venue: str) -> None:
        key = VenueKey(venue, self._realm)
        await _within_time(
            self._workflows.ensure_watch(key), "exits.watch_not_shown", venue=str(key)
        )


async def _within_time(call: Coroutine[Any, Any, None], event: str, **about: str) -> bool:
    """Whether the workflow service took a call in time; no failure is more than that call's."""
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            await call
    except Exception as failure:  # noqa: BLE001 - a boundary: other bots and venues go on
        _log.warning(event, error=type(failure).__name__, **about)
        return False
    return True
