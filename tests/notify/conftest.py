"""One PostgreSQL for all tests of notifications; a mail server and a web server for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from tests.notify.harness import Office, open_office
from tests.support.databases import fresh_database
from tests.support.notifications import Hook, Mailbox, mail_server, web_server
from tests.support.stack import temporal_server


@pytest.fixture(scope="session")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    with temporal_server() as server:
        yield server.address


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with mail_server(Mailbox()) as mailbox:
        yield mailbox


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with web_server() as hook:
        yield hook


@pytest.fixture
async def office(urls: DatabaseUrls, mailbox: Mailbox) -> AsyncIterator[Office]:
    async with open_office(urls, mailbox) as office:
        yield office
