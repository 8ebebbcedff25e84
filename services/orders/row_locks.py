"""Locking the rows of an order, and retrying while another transaction has them locked.

Who waits for a lock keeps a connection meanwhile. An account may be locked for seconds (by a
process that froze in the middle of a transaction, say), and its orders would take every connection
of an exits worker: then the exits of all other accounts wait too. So whatever exits need locks its
rows without waiting (SKIP LOCKED), gives its connection back, and retries a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.connections import Account
from models.trading import Order, Position

LOCKED_SECONDS_MAX = 5.0
"""How long locked rows are asked for; as long as a statement waits for a lock."""

RETRY_SECONDS = 0.05
TRIES_PER_SECOND = 100
"""Between two tries of one transaction, and of all that meet locked rows together at most."""

CONNECTIONS_OF_AN_ACCOUNT = 2
CONNECTIONS_MAX = 4
"""Transactions of one account, and of all, that are carried out at the same time: they may still
wait for rows that are not asked for so, and connections must be left for making exits."""

UNBOUNDED = 1_000
"""For a process whose pool other work shares (a main worker's hunts, say): bookings that waited for
each other before they wait for a connection would get a small part of the pool only."""

_T = TypeVar("_T")


class RowsLocked(SQLAlchemyError):
    """Another transaction has the rows locked."""


async def lock_position_and_order(
    session: AsyncSession, order_id: UUID, *, waits: bool = True
) -> tuple[Position, Order]:
    """Lock the account (shared), the order's position, the order: always in this sequence.

    A hunt locks the account and then positions; a fill's foreign key shares the account. Taken the
    other way round the two would wait for each other.

    Args:
        session: a transaction of the order's user.
        order_id: the order.
        waits: whether rows that are locked are waited for.

    Raises:
        RowsLocked: one of them is, and it was not to be waited for.
    """
    skips = not waits
    account = await session.exec(
        select(Account.id)
        .join(Order, col(Order.account_id) == Account.id)
        .where(Order.id == order_id)
        .with_for_update(read=True, key_share=True, of=Account, skip_locked=skips)
    )
    if account.first() is None and skips:
        raise RowsLocked("account")
    positions = (
        await session.exec(
            select(Position)
            .join(Order, col(Order.position_id) == Position.id)
            .where(Order.id == order_id)
            .with_for_update(of=Position, skip_locked=skips)
        )
    ).all()
    orders = (
        await session.exec(
            select(Order)
            .where(Order.id == order_id)
            .with_for_update(skip_locked=skips)
            .execution_options(populate_existing=True)
        )
    ).all()
    if skips and not (positions and orders):
        raise RowsLocked("position")
    (position,), (order,) = positions, orders
    return position, order


class LockRetry:
    """Carries out transactions that lock their rows without waiting, and retries while they cannot.

    Args:
        of_one: how many of an account at the same time.
        of_all: how many at the same time.
    """

    def __init__(
        self, of_one: int = CONNECTIONS_OF_AN_ACCOUNT, of_all: int = CONNECTIONS_MAX
    ) -> None:
        self._of_one = of_one
        self._slots = asyncio.Semaphore(of_all)
        self._accounts: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._retrying = 0

    async def carry_out(self, account_id: UUID, transaction: Callable[[], Awaitable[_T]]) -> _T:
        """Carry a transaction out, again and again while its rows are locked.

        Args:
            account_id: whose rows it asks for.
            transaction: opens and ends it; whatever it changed is undone where it raises.

        Raises:
            RowsLocked: they were for `LOCKED_SECONDS_MAX`.
        """
        loop = asyncio.get_running_loop()
        account = self._accounts.setdefault(account_id, asyncio.Semaphore(self._of_one))
        until = loop.time() + LOCKED_SECONDS_MAX
        while True:
            try:
                async with account, self._slots:
                    return await transaction()
            except RowsLocked:
                if loop.time() >= until:
                    raise
            await self._wait()

    async def _wait(self) -> None:
        self._retrying += 1
        try:
            await asyncio.sleep(max(RETRY_SECONDS, self._retrying / TRIES_PER_SECOND))
        finally:
            self._retrying -= 1
