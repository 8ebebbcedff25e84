"""A flood of keys that nobody has: it keeps no alert with a known key waiting."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

import services.alerts.intake
import services.database
from adapters.embedded.postgres_roles import DatabaseUrls
from services.alerts.errors import WebhookKeyInvalid
from services.alerts.intake import _POOL_SIZE, _UNKNOWN_AT_ONCE
from services.alerts.keys import KEY_PREFIX
from tests.alerts.harness import Desk, open_desk
from tests.support.traders import add_trader

pytestmark = pytest.mark.integration

SECONDS = 30


@pytest.fixture
async def desk(urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """One that waits for locks, and for connections, as long as a test does."""
    monkeypatch.setattr(services.database, "LOCK_TIMEOUT_MS", SECONDS * 1_000)
    monkeypatch.setattr(services.alerts.intake, "POOL_TIMEOUT_SECONDS", SECONDS)
    async with open_desk(urls) as desk:
        yield desk


async def waiting(desk: Desk, statements: int) -> None:
    """Until so many statements wait for a lock."""
    while True:
        (row,) = await desk.engine.rows("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
        if row["n"] >= statements:
            assert row["n"] == statements
            return
        await asyncio.sleep(0.01)


async def test_unknown_keys_leave_connections_to_known_ones(desk: Desk, urls: DatabaseUrls) -> None:
    trader = await add_trader(desk.engine.database, now=desk.engine.wall.now())
    key = await desk.key(trader)
    await desk.send(key, id="first")

    async with asyncio.timeout(SECONDS):
        async with await psycopg.AsyncConnection.connect(urls.owner) as blocker:
            await blocker.execute("LOCK TABLE webhook_keys IN ACCESS EXCLUSIVE MODE")
            unknown = [
                asyncio.create_task(desk.send(KEY_PREFIX + secrets.token_urlsafe(32)))
                for _ in range(_POOL_SIZE * 5)
            ]
            await waiting(desk, _UNKNOWN_AT_ONCE)
            known = asyncio.create_task(desk.send(key, id="second"))
            await waiting(desk, _UNKNOWN_AT_ONCE + 1)
            await blocker.rollback()
        receipt = await known
        answers = await asyncio.gather(*unknown, return_exceptions=True)

    assert not receipt.is_duplicate
    assert {type(it) for it in answers} == {WebhookKeyInvalid}


async def test_a_key_that_ended_is_known_no_more(desk: Desk) -> None:
    trader = await add_trader(desk.engine.database, now=desk.engine.wall.now())
    key = await desk.key(trader)
    await desk.send(key, id="first")
    await desk.keys.revoke(trader.principal)

    with pytest.raises(WebhookKeyInvalid):
        await desk.send(key, id="second")

    assert not desk.intake._known
