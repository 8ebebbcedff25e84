"""A trader with trades, and exports over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from services.database import Database
from services.exports.requests import Exports
from services.reads import Reads
from tests.analytics.trades import NOW, Book, open_book
from tests.support.buckets import bucket_server
from tests.support.databases import fresh_database
from tests.support.exports import DirectExports, MemoryStore, exports_in_memory


class MovingClock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment.astimezone(UTC)

    def advance(self, **parts: float) -> None:
        self.moment += timedelta(**parts)


@dataclass
class Stage:
    """Everything a test of exports touches."""

    database: Database
    clock: MovingClock
    exports: Exports
    workflows: DirectExports
    store: MemoryStore
    book: Book


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """Address of an object storage."""
    with bucket_server() as endpoint_url:
        yield endpoint_url


@pytest.fixture
async def stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    clock = MovingClock()
    database = Database(urls.app, urls.system, pool_size=6)
    reads = Reads(urls.app, clock, pool_size=2)
    await reads.open()
    exports, workflows, store = exports_in_memory(database, reads, clock)
    book = await open_book(database)
    yield Stage(database, clock, exports, workflows, store, book)
    await reads.close()
    await database.close()
