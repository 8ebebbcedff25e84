"""One PostgreSQL for all tests of billing, a fresh stand-in for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from migrations.run import upgrade
from tests.billing.harness import Till, open_till
from tests.support.stack import postgres_server, temporal_server


@pytest.fixture(scope="session")
def urls() -> Iterator[DatabaseUrls]:
    with postgres_server() as server:
        upgrade(server.urls.owner)
        yield server.urls


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    with temporal_server() as server:
        yield server.address


@pytest.fixture
async def till(urls: DatabaseUrls) -> AsyncIterator[Till]:
    async with open_till(urls) as till:
        yield till
