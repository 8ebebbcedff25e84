"""Waiting for entries that passed their last gate before a command took effect.

An entry holds the bot and its user's settings, shared, until it is marked as being sent. Once a
command that locks one of them exclusively has committed, every entry that passed before is visible
as being sent, and none passes afterwards. A send is given up `ENTRY_SEND_LENGTH_MAX` after it was
begun, so a command that answers after this wait has no entry leaving behind its answer.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from sqlmodel import col, func, select

from domain.orders import OrderState
from domain.ports import WallClock
from models.trading import Order
from services.database import Database
from services.orders.conditions import is_entry, is_in
from services.orders.settling import ENTRY_SEND_LENGTH_MAX, IN_FLIGHT_MAX

SECONDS_MAX = ENTRY_SEND_LENGTH_MAX.total_seconds() + 1.0
POLL_SECONDS = 0.02

_log = structlog.get_logger("nija.trading")


async def wait_for_entry_sends(
    database: Database, clock: WallClock, user_id: UUID, seconds_max: float = SECONDS_MAX
) -> int:
    """Wait until no entry of a user is on its way to a venue.

    Args:
        database: where the orders are.
        clock: wall time.
        user_id: whose entries.
        seconds_max: the longest wait; after the default no send can begin any more.

    Returns:
        How many entries have no known outcome yet; none of them can still begin.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds_max
    while True:
        left = await _entries_on_their_way(database, clock, user_id)
        if not left or loop.time() >= deadline:
            if left:
                _log.warning("sends.outcome_unknown", user_id=user_id.hex, entries=left)
            return left
        await asyncio.sleep(POLL_SECONDS)


async def _entries_on_their_way(database: Database, clock: WallClock, user_id: UUID) -> int:
    # What was marked longer ago and has no outcome was left by a process that is gone.
    since = clock.now() - IN_FLIGHT_MAX
    async with database.for_user(user_id) as session:
        return (
            await session.exec(
                select(func.count())
                .select_from(Order)
                .where(
                    Order.user_id == user_id,
                    is_in(OrderState.SENDING),
                    is_entry(),
                    col(Order.sent_at) > since,
                )
            )
        ).one()
