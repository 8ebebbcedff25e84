"""One PostgreSQL for all tests of alerts, and everything alerts go through on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.alerts.harness import Desk, open_desk
from tests.support.databases import fresh_database


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def desk(urls: DatabaseUrls) -> AsyncIterator[Desk]:
    async with open_desk(urls) as desk:
        yield desk


@pytest.fixture
async def alone(postgres: EmbeddedPostgres) -> AsyncIterator[Desk]:
    """A desk on a database of its own, for what reads every user's rows."""
    async with open_desk(fresh_database(postgres.local_urls)) as desk:
        yield desk
