"""A migrated PostgreSQL for all tests of administration, a fresh container for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.api.harness import Api, World, open_client, open_world, register
from tests.support.databases import fresh_database


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
def urls(migrated: DatabaseUrls) -> DatabaseUrls:
    """An empty database: administrators see everybody's rows."""
    with psycopg.connect(migrated.owner, autocommit=True) as owner:
        owner.execute("TRUNCATE users, kill_switches, audit_log, audit_chains, api_minutes CASCADE")
    return migrated


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    async with open_world(urls) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(world) as client:
        yield client


@pytest.fixture
async def user(client: httpx.AsyncClient) -> Api:
    return await register(client)


@pytest.fixture
async def admin(world: World, client: httpx.AsyncClient) -> Api:
    return await make_admin(world, await register(client))


async def make_admin(world: World, api: Api) -> Api:
    await world.sql("UPDATE users SET role = 'admin' WHERE id = %(id)s", id=api.user_id)
    return api
