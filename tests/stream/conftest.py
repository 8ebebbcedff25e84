"""A migrated PostgreSQL for all tests of live updates, a fresh world for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from migrations.run import upgrade
from services.database import Database
from tests.stream.harness import Person, Server, World
from tests.support.stack import postgres_server


@pytest.fixture(scope="session")
def urls() -> Iterator[DatabaseUrls]:
    with postgres_server() as server:
        upgrade(server.urls.owner)
        yield server.urls


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    database = Database(urls.app, urls.system, pool_size=4)
    yield World(urls, database)
    await database.close()


@pytest.fixture
async def server(world: World) -> AsyncIterator[Server]:
    async with world.serving() as server:
        yield server


@pytest.fixture
async def person(world: World) -> Person:
    return await world.person()
