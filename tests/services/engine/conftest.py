"""One PostgreSQL for all tests of this folder, and an engine on a fresh database for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.support.databases import fresh_database
from tests.support.engine import Engine, RunningBot


@pytest.fixture(scope="session")
def shared_database(postgres: EmbeddedPostgres) -> DatabaseUrls:
    """One database for tests that look at their own trader's rows only."""
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def engine(shared_database: DatabaseUrls) -> AsyncIterator[Engine]:
    it = Engine(shared_database)
    yield it
    await it.close()


@pytest.fixture
async def alone(postgres: EmbeddedPostgres) -> AsyncIterator[Engine]:
    """An engine on a database of its own, for what reads every user's rows."""
    it = Engine(fresh_database(postgres.local_urls))
    yield it
    await it.close()


@pytest.fixture
async def bot(engine: Engine) -> RunningBot:
    return await engine.start_bot()
