"""Connections to read: what one caller's calls wait for keeps no connection from the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest

import services.database
import services.reads
from adapters.embedded.postgres_roles import DatabaseUrls
from domain.plans import PLANS, Tier
from tests.api.harness import Api, World, open_client, open_world, register
from tests.limits.conftest import ADDRESSES

pytestmark = pytest.mark.integration

SECONDS = 30
"""For everything: what is shown is that calls are answered, not when."""
SIGNALS = "/account/signals"
LOCK_ALERTS = "LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE"
FREE = PLANS[Tier.FREE].limits.api_calls_per_minute


@pytest.fixture
async def limited(urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A container whose reads wait for locks, and for connections, as long as a test does."""
    monkeypatch.setattr(services.database, "LOCK_TIMEOUT_MS", SECONDS * 1_000)
    monkeypatch.setattr(services.reads, "STATEMENT_TIMEOUT_MS", SECONDS * 1_000)
    async with open_world(urls, ADDRESSES) as world:
        await world.sql("DELETE FROM door_windows")
        world.reads._answer_seconds = world.reads._pool.timeout = SECONDS
        yield world


@pytest.fixture
async def client(limited: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(limited) as client:
        yield client


@asynccontextmanager
async def held(urls: DatabaseUrls, statement: str, *values: object) -> AsyncIterator[None]:
    """Whatever a statement locks, for as long as the block is carried out."""
    async with await psycopg.AsyncConnection.connect(urls.owner) as connection:
        await connection.execute(statement.encode(), values)
        yield
        await connection.rollback()


async def waiting(world: World, calls: int) -> None:
    """Until so many statements wait for a lock."""
    while True:
        (row,) = await world.sql("SELECT count(*)::int AS calls FROM pg_locks WHERE NOT granted")
        if row["calls"] >= calls:
            return
        await asyncio.sleep(0.01)


async def test_reads_of_one_user_leave_connections_to_the_others(
    urls: DatabaseUrls, limited: World, client: httpx.AsyncClient
) -> None:
    busy, other = await register(client), await register(client)
    async with asyncio.timeout(SECONDS):
        async with held(urls, LOCK_ALERTS):
            flood = [asyncio.create_task(busy.call("GET", SIGNALS)) for _ in range(20)]
            await waiting(limited, 3)

            stopped = await other.call("POST", "/trading/emergency-stop", json={"reason": "now"})

            assert stopped.status_code == 200, stopped.text
            assert not any(call.done() for call in flood)
        answers = await asyncio.gather(*flood)
    assert {answer.status_code for answer in answers} == {200}


async def test_a_call_is_counted_while_another_of_the_user_reads(
    urls: DatabaseUrls, limited: World, client: httpx.AsyncClient
) -> None:
    user = await register(client)
    async with asyncio.timeout(SECONDS):
        async with held(urls, LOCK_ALERTS):
            reading = asyncio.create_task(user.call("GET", SIGNALS))
            await waiting(limited, 1)

            stopped = await user.call("POST", "/trading/emergency-stop", json={"reason": "now"})

            assert stopped.status_code == 200, stopped.text
            assert not reading.done()
        assert (await reading).status_code == 200
    left = [int(it.headers["x-ratelimit-remaining"]) for it in (stopped, await reading)]
    assert left[1] - left[0] == 1


async def test_calls_too_many_wait_for_no_count(
    urls: DatabaseUrls, limited: World, client: httpx.AsyncClient
) -> None:
    user = await register(client)
    await limited.sql("UPDATE users SET trial_ends_at = NULL WHERE id = %(id)s", id=user.user_id)
    for _ in range(FREE):
        await user.data("GET", "/auth/me")
    mine = "SELECT 1 FROM call_windows WHERE user_id = %s FOR UPDATE"
    async with asyncio.timeout(SECONDS), held(urls, mine, user.user_id):
        answers = await asyncio.gather(*(user.call("GET", SIGNALS) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {429}


async def test_calls_of_one_address_leave_connections_to_users(
    urls: DatabaseUrls, limited: World, client: httpx.AsyncClient
) -> None:
    user, anybody = await register(client), Api(client)
    await anybody.data("GET", "/subscription/plans")
    async with asyncio.timeout(SECONDS):
        async with held(urls, "SELECT 1 FROM door_windows FOR UPDATE"):
            flood = [
                asyncio.create_task(anybody.call("GET", "/subscription/plans")) for _ in range(20)
            ]
            await waiting(limited, 3)

            stopped = await user.call("POST", "/trading/emergency-stop", json={"reason": "now"})

            assert stopped.status_code == 200, stopped.text
            assert not any(call.done() for call in flood)
        await asyncio.gather(*flood)


async def test_a_call_that_no_connection_was_free_for_may_be_repeated(
    urls: DatabaseUrls, limited: World, client: httpx.AsyncClient
) -> None:
    user = await register(client)
    limited.reads._pool.timeout = 0.2
    async with asyncio.timeout(SECONDS):
        async with held(urls, LOCK_ALERTS):
            reading = [asyncio.create_task(user.call("GET", SIGNALS)) for _ in range(3)]
            await waiting(limited, 3)

            answer = await user.call("POST", "/trading/pause")
        await asyncio.gather(*reading)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["error"]["details"] == {"retry_after_seconds": 2}
    assert limited.trading.calls == []
    assert (await user.call("POST", "/trading/pause")).status_code == 200
