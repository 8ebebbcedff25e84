"""A migrated database, and connections as each of its roles."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.support.databases import fresh_database
from tests.support.stack import postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.urls)


@pytest.fixture
def owner(urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(urls.owner) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def system(urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(urls.system) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def app(urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(urls.app) as connection:
        yield connection
        connection.rollback()
