"""Watching a venue: judging prices against triggers, and keeping quotes.

About once a second by the wall clock. The armed triggers are a sorted book in PostgreSQL (an index
on venue, symbol, direction and price), so a tick costs a few index look-ups however many stops sit
idle, and nothing is lost with the process. What fired commits first, then what was seen and how far
the watch has come: judging is repeatable. Then exits are woken, and the next look waits for that
only a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.markets import Candle, Quote, VenueClock, VenueKey
from domain.ports import (
    MarketData,
    Venues,
    VenueUnavailable,
    WallClock,
    WorkflowService,
    WorkflowServiceUnavailable,
)
from domain.requests import Purpose, requests_for
from models.markets import VenueState
from models.trading import Trigger, TriggerState
from services.database import Database
from services.markets.closing import ClosedCandles
from services.markets.firing import BotId, Seen, fire_crossed
from services.markets.last_clock import last_clock
from services.markets.listing import MarketListing
from services.markets.seen import store_seen
from services.markets.wanted import WantedMarkets, wanted_markets

LOOK_SECONDS_MAX = 15.0
"""Every question of a look has a deadline; this is for what hangs all the same."""

WAKING_AT_ONCE = 50

LOOK_AGE_SECONDS_MAX = LOOK_SECONDS_MAX + 5.0
"""After which looks that do not come to an end count as none."""

CLOCK_SECONDS = 0.5
BESIDE_SECONDS = 0.5

_log = structlog.get_logger("nija.watch")


class VenueWatching:
    """Runs the watches of venues, each until it is cancelled."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        workflows: WorkflowService,
        clock: WallClock,
        *,
        interval_seconds: float,
    ) -> None:
        self._database = database
        self._venues = venues
        self._workflows = workflows
        self._clock = clock
        self._interval = interval_seconds
        self._candles: dict[VenueKey, ClosedCandles] = {}
        self._listings: dict[VenueKey, MarketListing] = {}
        self._background: defaultdict[VenueKey, set[asyncio.Task[None]]] = defaultdict(set)
        self._looks: Counter[VenueKey] = Counter()
        self._looked_at: dict[VenueKey, float] = {}

    async def watch(self, key: VenueKey) -> None:
        """Look again and again until cancelled; a look that fails is followed by another."""
        try:
            await self._beside(key, self._wake_unanswered(key))
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(LOOK_SECONDS_MAX):
                        await self.look(key)
                except (VenueUnavailable, SQLAlchemyError, OSError) as failure:
                    _log.warning("watch.failed", venue=str(key), error=type(failure).__name__)
                self._looks[key] += 1
                self._looked_at[key] = asyncio.get_running_loop().time()
                spent = self._looked_at[key] - started
                await asyncio.sleep(max(self._interval - spent, self._interval / 10))
        finally:
            await self._end(key)

    def looks(self, key: VenueKey) -> int:
        """How often this process has looked at a venue in its watch."""
        return self._looks[key]

    def gets_on(self, key: VenueKey) -> bool:
        """Whether this process has looked at a venue lately, whatever that gave."""
        looked_at = self._looked_at.get(key)
        now = asyncio.get_running_loop().time()
        return looked_at is not None and now - looked_at <= LOOK_AGE_SECONDS_MAX

    async def close(self) -> None:
        """Abandon questions that are under way; exits that were not woken, their rows say."""
        for key in {*self._candles, *self._background}:
            await self._end(key)

    async def _end(self, key: VenueKey) -> None:
        candles = self._candles.pop(key, None)
        if candles is not None:
            await candles.close()
        background = self._background.pop(key, set())
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    async def look(self, key: VenueKey) -> None:
        """Look once: ask, judge and commit what could be had, then wake exits.

        Needs a price and nothing else: no list of markets, no fees, no candle and no clock. Each
        question has a short deadline of its own, and nothing here waits for a bot or another user.
        What fired commits first and alone.

        Raises:
            VenueUnavailable: no market gave anything; the next look judges the same candles.
            sqlalchemy.exc.SQLAlchemyError: what fired, or what was seen, could not be stored. The
                next look judges candles again for which that was so of what they fire.
        """
        market = self._venues.market_data(key)
        state, asked_at = await self._state(key)
        clock, is_seen = await self._read_clock(market, state)
        before = None
        if state is not None and state.epoch == clock.epoch:
            # A new epoch has a clock of its own; what the old one judged means nothing in it.
            before = VenueClock(state.clock_at, state.epoch)
        async with self._database.as_system() as session:
            wanted = await wanted_markets(session, key, market.known_rules())
        quotes, candles = await asyncio.gather(
            self._quotes(market, wanted, clock),
            self._closed_candles(market, wanted, clock, before, state) if is_seen else _nothing(),
        )
        seen = Seen(clock, asked_at, quotes, candles)
        is_silent = bool(wanted.all) and not quotes and not candles
        are_judged = is_seen and not is_silent and not self._candles[key].are_awaited
        judged_until = clock.now - market.settling if are_judged else None
        firing = await fire_crossed(self._database, key, seen)
        if candles:
            self._candles[key].confirm(candles.keys() - firing.left)
        try:
            async with self._database.as_system_briefly() as session:
                await store_seen(
                    session,
                    key,
                    seen,
                    wall=self._clock.now(),
                    judged_until=judged_until,
                    error=_error(is_seen=is_seen, is_silent=is_silent),
                )
        finally:  # what fired is committed, whoever has the rows of prices locked
            await self._beside(key, self._wake_exits(firing.bots))
        listing = self._listings.setdefault(key, MarketListing(self._database, key))
        await self._beside(key, listing.note(market, wanted, self._clock.now()))
        if is_silent:
            raise VenueUnavailable("No market of the venue gives a price")

    # --- asking -----------------------------------------------------------------------------

    async def _read_clock(
        self, market: MarketData, state: VenueState | None
    ) -> tuple[VenueClock, bool]:
        """The venue's clock, and whether the venue told it; else it goes on from the last seen.

        Raises:
            VenueUnavailable: nobody ever saw it.
        """
        try:
            async with asyncio.timeout(CLOCK_SECONDS):
                return await market.clock(), True
        except (VenueUnavailable, TimeoutError) as failure:
            known = market.known_clock()
            if known is not None and (state is None or known.epoch == state.epoch):
                return known, False
            async with self._database.as_system() as session:
                last = await last_clock(session, market.key, self._clock.now())
            if last is None:
                raise VenueUnavailable("The venue's clock was never seen") from failure
            return last, False

    async def _quotes(
        self, market: MarketData, wanted: WantedMarkets, clock: VenueClock
    ) -> Mapping[str, Quote]:
        with requests_for(Purpose.EXIT):  # stops are judged by them
            return await market.quotes(wanted.all, at=clock.now)

    async def _closed_candles(
        self,
        market: MarketData,
        wanted: WantedMarkets,
        clock: VenueClock,
        before: VenueClock | None,
        state: VenueState | None,
    ) -> Mapping[str, Sequence[Candle]]:
        candles = self._candles.setdefault(market.key, ClosedCandles())
        gap = self._clock.now() - state.seen_at if state is not None else timedelta(0)
        with requests_for(Purpose.LOOK_UP):
            return await candles.collect(
                market, wanted.armed, clock, before=before, wall_gap=gap.total_seconds()
            )

    async def _state(self, key: VenueKey) -> tuple[VenueState | None, datetime]:
        """What the last look left, and the database's time now."""
        async with self._database.as_system() as session:
            asked_at = (await session.exec(select(func.clock_timestamp()))).one()
            state = (
                await session.exec(
                    select(VenueState).where(
                        VenueState.venue == key.venue, VenueState.realm == key.realm.value
                    )
                )
            ).one_or_none()
        return state, asked_at

    # --- waking -----------------------------------------------------------------------------

    async def _beside(self, key: VenueKey, work: Coroutine[Any, Any, None]) -> None:
        """Let work end beside the next looks if it takes longer than a moment."""
        task = asyncio.create_task(_logged(work))
        background = self._background[key]
        background.add(task)
        task.add_done_callback(background.discard)
        await asyncio.wait({task}, timeout=BESIDE_SECONDS)

    async def _unanswered(self, key: VenueKey) -> set[BotId]:
        """Bots with triggers that fired before; waking exits may have been lost with a process."""
        async with self._database.as_system() as session:
            rows = await session.exec(
                select(col(Trigger.user_id), col(Trigger.bot_id))
                .where(
                    Trigger.venue == key.venue,
                    Trigger.realm == key.realm.value,
                    Trigger.state == TriggerState.FIRED.value,
                )
                .distinct()
            )
            return set(rows.all())

    async def _wake_unanswered(self, key: VenueKey) -> None:
        await self._wake_exits(await self._unanswered(key))

    async def _wake_exits(self, bots: Collection[BotId]) -> None:
        gate = asyncio.Semaphore(WAKING_AT_ONCE)

        async def wake(user_id: UUID, bot_id: UUID) -> None:
            async with gate:
                try:
                    await self._workflows.wake_exits(user_id, bot_id)
                except WorkflowServiceUnavailable:
                    # The rows say it too: the exits worker's poll wakes it.
                    _log.warning("watch.exits_not_woken", bot_id=str(bot_id))

        await asyncio.gather(*(wake(user_id, bot_id) for user_id, bot_id in sorted(bots)))


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (SQLAlchemyError, OSError) as failure:
        # The rows say it too: the exits worker's poll wakes what was not woken.
        _log.warning("watch.beside_failed", error=type(failure).__name__)


async def _nothing() -> Mapping[str, Sequence[Candle]]:
    return {}


def _error(*, is_seen: bool, is_silent: bool) -> str | None:
    if is_silent:
        return "No market of the venue gives a price"
    return None if is_seen else "The venue's clock does not answer; its time is reckoned"
