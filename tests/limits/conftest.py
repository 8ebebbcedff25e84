"""A migrated PostgreSQL for the tests of limits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from services.limits.policy import AddressLimits
from tests.api.conftest import logging_as_in_production  # noqa: F401 - a fixture
from tests.api.harness import World, open_client, open_world
from tests.support.databases import fresh_database

ADDRESSES = AddressLimits(auth=20, public=60)


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    """A container whose calls are counted but not limited."""
    async with open_world(urls) as world:
        yield world


@pytest.fixture
async def limited(urls: DatabaseUrls) -> AsyncIterator[World]:
    """A container with rate limits on, whose doors nobody went through yet."""
    async with open_world(urls, ADDRESSES) as limited:
        await limited.sql("DELETE FROM door_windows")
        yield limited


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(world) as client:
        yield client


@pytest.fixture
async def system(urls: DatabaseUrls) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
    """One connection of the system role for many statements."""
    async with await psycopg.AsyncConnection.connect(
        urls.system, autocommit=True, row_factory=dict_row
    ) as connection:
        yield connection
