"""Waiting until keys that were removed or replaced are used by no process any more.

The removal commits first. From then on no process gets a lease on the keys (`domain.key_leases`)
and no order is marked as being sent with them. What is left is waited for: leases that were given
before, and sends that were marked before, until the venue has answered or they must have ended.

An order is marked with its account locked (shared) and its keys read behind that. So once the
account was locked exclusively for a moment, every order that was marked with the keys shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.key_leases import KEY_LEASE_SECONDS
from domain.orders import OrderState
from domain.ports import WallClock
from models.connections import Account
from models.trading import Order
from services.database import Database
from services.orders.settling import IN_FLIGHT_MAX, SEND_LENGTH_MAX

LEASES_SECONDS = KEY_LEASE_SECONDS + 0.1
"""The longest lease, and what the clocks of two machines may differ by meanwhile."""

SENDS_SECONDS_MAX = SEND_LENGTH_MAX.total_seconds() + 1.0
"""After which no send that was begun before can leave any more, whatever its row says."""

POLL_SECONDS = 0.05

_log = structlog.get_logger("nija.connections")


async def wait_until_unused(
    database: Database, clock: WallClock, user_id: UUID, connection_ids: Collection[UUID]
) -> None:
    """Wait until no request can leave with keys whose removal has committed.

    Args:
        database: where the orders are.
        clock: wall time.
        user_id: whose connections.
        connection_ids: those whose keys were removed or replaced.
    """
    began = monotonic()
    for connection_id in connection_ids:
        left = began + SENDS_SECONDS_MAX - monotonic()
        await wait_for_sends(database, clock, user_id, connection_id, seconds_max=left)
    await asyncio.sleep(began + LEASES_SECONDS - monotonic())


async def wait_for_sends(
    database: Database,
    clock: WallClock,
    user_id: UUID,
    connection_id: UUID,
    *,
    seconds_max: float,
) -> bool:
    """Wait until the orders that leave with a connection's keys at present have left.

    Args:
        database: where the orders are.
        clock: wall time.
        user_id: whose connection.
        connection_id: the connection.
        seconds_max: the longest wait.

    Returns:
        Whether all have.
    """
    deadline = monotonic() + seconds_max
    sends: Collection[UUID] | None = None
    while True:
        async with database.for_user(user_id) as session:
            if sends is None:
                sends = await _sends_of(session, clock, connection_id)
            else:
                sends = await _still_leaving(session, clock, sends)
        if sends is not None and not sends:
            return True
        if monotonic() >= deadline:
            _log.warning(
                "keys.sends_without_end",
                connection_id=str(connection_id),
                orders=None if sends is None else len(sends),
            )
            return False
        await asyncio.sleep(POLL_SECONDS)


async def _sends_of(
    session: AsyncSession, clock: WallClock, connection_id: UUID
) -> Collection[UUID] | None:
    """The orders that may leave; None while one may be being marked."""
    its = select(Account.id).where(Account.connection_id == connection_id)
    account = (await session.exec(its.with_for_update(skip_locked=True))).one_or_none()
    if account is None:
        return None if (await session.exec(its)).first() else ()
    statement = select(Order.id).where(Order.account_id == account, _may_leave(clock))
    return (await session.exec(statement)).all()


async def _still_leaving(
    session: AsyncSession, clock: WallClock, orders: Collection[UUID]
) -> Collection[UUID]:
    statement = select(Order.id).where(col(Order.id).in_(orders), _may_leave(clock))
    return (await session.exec(statement)).all()


def _may_leave(clock: WallClock) -> ColumnElement[bool]:
    """Orders of which a send may not have left.

    What was marked longer ago has, or never will. Of an order that was sent again an earlier send
    may be under way beside the latest, whatever the row says; one that waits to be sent again had
    an earlier send.
    """
    since = clock.now() - IN_FLIGHT_MAX
    is_resent = (col(Order.sends) > 1) | (
        (col(Order.state) == OrderState.INTENDED.value) & (col(Order.sends) > 0)
    )
    is_sending = col(Order.state) == OrderState.SENDING.value
    return (col(Order.sent_at) > since) & (is_sending | is_resent)
