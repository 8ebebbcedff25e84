"""Finding the exits that are due, and waking the workflows that carry them out.

The exits worker reads the rows some times a second, so nothing that makes an exit due depends on a
signal: a trigger that fired, a command, an alert, a lost plan, a kill switch that is to close
positions. Whoever commits one may wake the workflow at once; what this finds at two polls in a row
was not woken, or not for long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import union
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.markets import Realm, VenueKey
from domain.orders import FINAL_STATES, Leg
from domain.ports import Venues, WorkflowService, WorkflowServiceUnavailable
from models.bots import BotRun
from models.trading import Order, Position
from services.database import Database, all_rows
from services.orders.due_exits import is_to_leave
from services.trading.kill_switch_closing import ask_covered_positions

POLL_SECONDS = 0.25
REMIND_SECONDS = 10.0
"""How long a workflow that was woken is trusted to be at it."""

WATCH_SECONDS = 5.0
"""Between two checks that each venue's price watch runs."""

WAKING_AT_ONCE = 25

BotId = tuple[UUID, UUID]
"""User and bot."""

BotPosition = tuple[UUID, UUID, UUID]
"""User, bot and a position that is to be left."""

_FINAL = tuple(state.value for state in FINAL_STATES)

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
        self._watched_at: float | None = None

    async def run(self) -> None:
        """Poll until cancelled; a server that is away is asked again at the next poll."""
        while True:
            try:
                await self.poll()
            except (SQLAlchemyError, OSError, WorkflowServiceUnavailable) as failure:
                _log.warning("exits.poll_failed", error=type(failure).__name__)
            await asyncio.sleep(self._interval)

    async def poll(self) -> int:
        """Wake the workflow of every bot with an exit that is not in hand; how many there were.

        Raises:
            WorkflowServiceUnavailable: a price watch could not be made sure of.
        """
        asked = await ask_covered_positions(self._database)
        now = asyncio.get_running_loop().time()
        due = await self._due()
        bots = asked | {position[:2] for position in due if self._is_left_alone(position, now)}
        self._woken_at = {position: self._woken_at.get(position) for position in due}
        await self._wake(sorted(bots), now)
        if self._watched_at is None or now - self._watched_at >= WATCH_SECONDS:
            await self._watch()
            self._watched_at = now
        return len(due)

    async def _due(self) -> set[BotPosition]:
        to_leave = (
            select(col(Position.user_id), col(BotRun.bot_id), col(Position.id))
            .join(BotRun, col(BotRun.id) == Position.run_id)
            .where(is_to_leave())
        )
        leaving = select(col(Order.user_id), col(Order.bot_id), col(Order.position_id)).where(
            Order.leg != Leg.ENTRY.value, col(Order.state).not_in(_FINAL)
        )
        async with self._database.as_system() as session:
            return set(await all_rows(session, union(to_leave, leaving)))

    def _is_left_alone(self, position: BotPosition, now: float) -> bool:
        """Whether a poll has seen it before, and nothing has been woken for it for long."""
        if position not in self._woken_at:
            return False
        woken_at = self._woken_at[position]
        return woken_at is None or now - woken_at >= REMIND_SECONDS

    async def _wake(self, bots: Sequence[BotId], now: float) -> None:
        gate = asyncio.Semaphore(WAKING_AT_ONCE)

        async def wake(bot: BotId) -> None:
            async with gate:
                try:
                    await self._workflows.wake_exits(*bot)
                except WorkflowServiceUnavailable as failure:
                    _log.warning(
                        "exits.not_woken", bot_id=str(bot[1]), error=type(failure).__name__
                    )
                    return
            for position in self._woken_at:
                if position[:2] == bot:
                    self._woken_at[position] = now

        await asyncio.gather(*map(wake, bots))

    async def _watch(self) -> None:
        for venue in self._venues.supported():
            await self._workflows.ensure_watch(VenueKey(venue, self._realm))
