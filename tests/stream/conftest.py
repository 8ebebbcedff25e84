"""A migrated PostgreSQL for all tests of live updates, a fresh world for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from services.database import Database
from tests.stream.harness import Person, Server, World
from tests.support.databases import fresh_database


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


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
