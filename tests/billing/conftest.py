"""One PostgreSQL for all tests of billing, a fresh stand-in for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.billing.harness import Till, open_till
from tests.support.databases import fresh_database
from tests.support.stack import temporal_server


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    with temporal_server() as server:
        yield server.address


@pytest.fixture
async def till(urls: DatabaseUrls) -> AsyncIterator[Till]:
    async with open_till(urls) as till:
        yield till
