"""What a batch of reads looks like on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import DivisionByZero

from adapters.embedded.postgres import EmbeddedPostgres
from services.one_send import OneSendConnection
from tests.support.databases import fresh_database
from tests.support.lossy_proxy import LossyProxy, lossy_proxy

pytestmark = pytest.mark.integration

Connection = OneSendConnection[Any]


@pytest.fixture
async def wired(postgres: EmbeddedPostgres) -> AsyncIterator[tuple[LossyProxy, Connection]]:
    urls = fresh_database(postgres.urls)
    async with lossy_proxy(urls.app) as wire:
        through = make_conninfo(urls.app, port=urlsplit(wire.url).port, sslmode="disable")
        connection: Connection = await OneSendConnection.connect(
            through, autocommit=True, prepare_threshold=0
        )
        async with connection:
            yield wire, connection


async def divide(connection: Connection, by: int) -> list[tuple[int, ...] | None]:
    cursors = []
    async with connection.pipeline():
        for n in range(3):
            cursors.append(await connection.execute("SELECT %s::int / %s", (n, by)))
            await asyncio.sleep(0.01)  # what was sent by now is on its way
    return [await cursor.fetchone() for cursor in cursors]


async def test_a_batch_leaves_in_one_piece(wired: tuple[LossyProxy, Connection]) -> None:
    wire, connection = wired
    before = wire.pieces_forwarded

    assert await divide(connection, by=1) == [(0,), (1,), (2,)]

    assert wire.pieces_forwarded - before == 1


async def test_a_failure_is_told_and_the_connection_goes_on(
    wired: tuple[LossyProxy, Connection],
) -> None:
    _, connection = wired

    with pytest.raises(DivisionByZero):
        await divide(connection, by=0)

    assert await divide(connection, by=2) == [(0,), (0,), (1,)]
