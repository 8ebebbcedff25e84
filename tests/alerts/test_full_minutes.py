"""Entries too many with one key: refused without a transaction, and never in the way of exits."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from services.errors import RateLimited
from tests.alerts.harness import Desk
from tests.api.harness import ALERTS_A_MINUTE as A_MINUTE
from tests.support.traders import add_trader

pytestmark = pytest.mark.integration

SECONDS = 30


async def test_entries_too_many_are_refused_without_storing_and_exits_are_taken(
    desk: Desk, urls: DatabaseUrls
) -> None:
    wall = desk.engine.wall
    trader = await add_trader(desk.engine.database, now=wall.now())
    key = await desk.key(trader)
    for number in range(A_MINUTE):
        await desk.send(key, id=str(number))
    with pytest.raises(RateLimited):
        await desk.send(key, id="too many")

    async with asyncio.timeout(SECONDS):
        async with await psycopg.AsyncConnection.connect(urls.owner) as blocker:
            # What storing waits for, and what the key is looked up by does not.
            await blocker.execute("SELECT 1 FROM webhook_keys FOR UPDATE")
            for number in range(5):
                with pytest.raises(RateLimited) as refused:
                    await desk.send(key, id=f"again {number}")
                assert refused.value.details["limit"] == A_MINUTE
            await blocker.rollback()
        await desk.send(key, action="close")

    wall.advance(61)
    await desk.send(key, id="later")
