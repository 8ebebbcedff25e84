"""One PostgreSQL for all tests of this folder; each looks at its own trader's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from domain.markets import Realm
from services.account_views.views import AccountViews
from services.analytics.views import Analytics
from services.database import Database
from services.reads import Reads
from tests.analytics.trades import NOW, Book, open_book
from tests.support.databases import fresh_database


class StandingClock:
    """A wall clock that stands."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    it = Database(urls.app, urls.system, pool_size=6)
    yield it
    await it.close()


@pytest.fixture
async def book(database: Database) -> Book:
    return await open_book(database)


@pytest.fixture
async def reads(urls: DatabaseUrls) -> AsyncIterator[Reads]:
    it = Reads(urls.app, StandingClock(), pool_size=2)
    await it.open()
    yield it
    await it.close()


@pytest.fixture
def views(reads: Reads) -> AccountViews:
    return AccountViews(reads, realm=Realm.SIMULATED)


@pytest.fixture
def analytics(views: AccountViews) -> Analytics:
    return Analytics(views)
