"""Connections of one user's transactions: a few, so that there are others for everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

import services.database
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from services.database import Database
from tests.support.databases import fresh_database

pytestmark = pytest.mark.integration

SECONDS = 10
POOL = 3


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    it = Database(urls.app, urls.system, pool_size=POOL, of_a_user=POOL - 1)
    yield it
    await it.close()


async def test_one_users_transactions_leave_connections_to_the_others(database: Database) -> None:
    busy, other = uuid4(), uuid4()
    is_over, begun = asyncio.Event(), 0

    async def wait() -> None:
        nonlocal begun
        async with database.for_user(busy):
            begun += 1
            await is_over.wait()

    waiting = [asyncio.create_task(wait()) for _ in range(20)]
    async with asyncio.timeout(SECONDS):
        while begun < POOL - 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    async with asyncio.timeout(SECONDS), database.for_user(other) as session:
        connection = await session.connection()
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    assert begun == POOL - 1

    is_over.set()
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*waiting)
    assert begun == len(waiting)


async def test_a_transaction_within_one_of_the_same_user_waits_for_none(
    database: Database,
) -> None:
    user = uuid4()

    async def nest() -> None:
        async with database.for_user(user):
            await asyncio.sleep(0.05)
            async with database.for_user(user):
                await asyncio.sleep(0.05)

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(nest(), nest())


async def test_a_user_who_waits_for_too_long_is_told_and_takes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.database, "POOL_SECONDS", 0.1)
    user, is_over = uuid4(), asyncio.Event()

    async def wait() -> None:
        async with database.for_user(user):
            await is_over.wait()

    waiting = [asyncio.create_task(wait()) for _ in range(POOL - 1)]
    await asyncio.sleep(0.5)
    with pytest.raises(PoolTimeout):
        async with database.for_user(user):
            pass
    is_over.set()
    await asyncio.gather(*waiting)

    async with asyncio.timeout(SECONDS), database.for_user(user):
        pass
