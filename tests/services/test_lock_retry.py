"""Lock retries: how many transactions that lock rows without waiting are carried out at once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from services.orders.row_locks import CONNECTIONS_MAX, UNBOUNDED, LockRetry

ACCOUNTS = 3 * CONNECTIONS_MAX


async def most_at_once(lock_retry: LockRetry) -> int:
    """How many transactions of as many accounts are under way together."""
    under_way = most = 0

    async def transaction() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(lock_retry.carry_out(uuid4(), transaction) for _ in range(ACCOUNTS)))
    return most


async def test_an_exits_worker_leaves_connections_for_making_exits() -> None:
    assert await most_at_once(LockRetry()) == CONNECTIONS_MAX


async def test_bookings_of_a_main_worker_compete_for_its_connections_all_at_once() -> None:
    assert await most_at_once(LockRetry(of_all=UNBOUNDED)) == ACCOUNTS
