"""A migrated PostgreSQL for all tests of the API, a fresh container for each."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.api.harness import Api, World, open_client, open_world, register
from tests.support.databases import fresh_database
from tests.support.logs import log_as_in_production, log_plainly


@pytest.fixture(scope="session", autouse=True)
def logging_as_in_production() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    log_as_in_production("info")
    yield
    root.handlers, root.level = handlers, level
    log_plainly()


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    async with open_world(urls) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(world) as client:
        yield client


@pytest.fixture
def anyone(client: httpx.AsyncClient) -> Api:
    return Api(client)


@pytest.fixture
async def user(client: httpx.AsyncClient) -> Api:
    return await register(client)


@pytest.fixture
async def other(client: httpx.AsyncClient) -> Api:
    return await register(client)
