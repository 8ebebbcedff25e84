"""The venue's time where an order waits for it: within a moment, and always an answer.

An exit and a look-up need a venue time to note, not an exact one. What stands in for a clock that
does not answer is never ahead of a venue whose time runs as fast as ours.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import VenueKey
from domain.ports import VenueRefusedKeys, Venues, VenueUnavailable
from models.trading import Order
from services.database import Database
from services.markets.last_clock import CLOCK_SECONDS_MAX, last_clock


async def time_without_asking(
    session: AsyncSession, venues: Venues, key: VenueKey, order: Order, wall: datetime
) -> datetime:
    """The venue's time by what is known of it: as this process saw it, else as anybody last did.

    This process knows the speed at which a replay goes on; the stored clock is continued at the
    wall's, and may be ahead of a replay that is slower or stands.

    Args:
        session: any transaction.
        venues: whose market data may have seen the clock.
        key: the venue.
        order: when it was intended is the least that is known.
        wall: wall time.
    """
    known = venues.market_data(key).known_clock()
    if known is not None:
        return max(order.created_at, known.now)
    least = order.created_at + max(timedelta(0), wall - order.intended_at)
    last = await last_clock(session, key, wall)
    if last is not None:
        return max(order.created_at, last.now)
    return least


async def time_of_look_up(
    database: Database, venues: Venues, key: VenueKey, order: Order, wall: datetime
) -> datetime:
    """The venue's clock, asked for a moment; else its time by what is known of it."""
    try:
        async with asyncio.timeout(CLOCK_SECONDS_MAX):
            return (await venues.market_data(key).clock()).now
    except (TimeoutError, VenueUnavailable, VenueRefusedKeys):
        async with database.for_user(order.user_id) as session:
            return await time_without_asking(session, venues, key, order, wall)
