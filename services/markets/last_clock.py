"""A venue's clock as it was last seen, for who cannot ask it: no exit waits for a clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Realm, VenueClock, VenueKey
from domain.ports import VenueRefusedKeys, Venues, VenueUnavailable
from models.bots import BotRun
from models.markets import VenueState
from services.database import Database

CLOCK_SECONDS_MAX = 1.5
"""How long the venue's clock is waited for where its time may also be reckoned."""


async def last_clock(session: AsyncSession, key: VenueKey, wall: datetime) -> VenueClock | None:
    """The clock as the watch stored it, else as the latest start of a bot saw it.

    Gone on by the wall's, it may be ahead of a replay that is slower or stands.

    Args:
        session: any transaction; a user's own sees that user's starts only.
        key: the venue.
        wall: wall time.

    Returns:
        None where nobody ever saw it: then nothing was ever traded there.
    """
    stored = await session.exec(
        select(col(VenueState.clock_at), col(VenueState.seen_at), col(VenueState.epoch)).where(
            VenueState.venue == key.venue, VenueState.realm == key.realm.value
        )
    )
    seen = stored.one_or_none()
    if seen is None:
        started = await session.exec(
            select(col(BotRun.venue_started_at), col(BotRun.started_at), col(BotRun.epoch))
            .where(BotRun.venue == key.venue, BotRun.realm == key.realm.value)
            .order_by(col(BotRun.started_at).desc())
            .limit(1)
        )
        seen = started.first()
    if seen is None:
        return None
    at, seen_at, epoch = seen
    return VenueClock(at + max(timedelta(0), wall - seen_at), epoch)


async def time_at_venue(session: AsyncSession, run: BotRun, wall: datetime) -> datetime:
    """The venue's time of a moment at which nobody asks the venue, as well as it is known.

    Args:
        session: a transaction of the run's user.
        run: a run at the venue.
        wall: wall time.
    """
    clock = await last_clock(session, VenueKey(run.venue, Realm(run.realm)), wall)
    return run.venue_started_at if clock is None else clock.now


async def clock_by_any_means(
    database: Database, venues: Venues, key: VenueKey, wall: datetime
) -> VenueClock:
    """The venue's clock, asked for a moment; else as this process, or anybody, last saw it.

    Raises:
        VenueUnavailable: nobody ever saw it.
    """
    market = venues.market_data(key)
    try:
        async with asyncio.timeout(CLOCK_SECONDS_MAX):
            return await market.clock()
    except (TimeoutError, VenueUnavailable, VenueRefusedKeys):
        found = market.known_clock()
        if found is None:
            async with database.as_system() as session:
                found = await last_clock(session, key, wall)
    if found is None:
        raise VenueUnavailable("The venue's clock was never seen")
    return found
