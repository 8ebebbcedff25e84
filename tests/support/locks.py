"""Rows that are locked, and waiting until transactions wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from sqlmodel import select

from adapters.embedded.postgres_roles import DatabaseUrls
from models.trading import Position
from services.database import Database


async def waiting_for_locks(urls: DatabaseUrls, number: int) -> None:
    """Wait until so many of the database's sessions wait for a lock."""
    # Only a superuser sees what other roles wait for.
    async with (
        await psycopg.AsyncConnection.connect(urls.superuser, autocommit=True) as watcher,
        asyncio.timeout(4),
    ):
        while True:
            found = await watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
            row = await found.fetchone()
            if row is not None and row[0] >= number:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def locked_position(database: Database, position: Position) -> AsyncIterator[None]:
    """Keep a position locked, as a process that froze in the middle of a booking does."""
    async with database.as_system() as session:
        await session.exec(select(Position.id).where(Position.id == position.id).with_for_update())
        yield
