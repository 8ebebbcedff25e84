"""A migrated database, and connections as each of its roles."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.support.databases import fresh_database


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture(scope="module")
def connections(urls: DatabaseUrls) -> Iterator[dict[str, psycopg.Connection]]:
    """One as each role, for all tests of a module: most of them take less time than a login."""
    with (
        psycopg.connect(urls.owner) as owner,
        psycopg.connect(urls.system) as system,
        psycopg.connect(urls.app) as app,
    ):
        yield {"owner": owner, "system": system, "app": app}


@pytest.fixture
def owner(connections: dict[str, psycopg.Connection]) -> Iterator[psycopg.Connection]:
    yield connections["owner"]
    connections["owner"].rollback()


@pytest.fixture
def system(connections: dict[str, psycopg.Connection]) -> Iterator[psycopg.Connection]:
    yield connections["system"]
    connections["system"].rollback()


@pytest.fixture
def app(connections: dict[str, psycopg.Connection]) -> Iterator[psycopg.Connection]:
    yield connections["app"]
    connections["app"].rollback()
