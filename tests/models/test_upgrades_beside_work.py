"""Upgrades beside processes that are at work."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from alembic import command
from sqlalchemy import text

from adapters.embedded.postgres import EmbeddedPostgres
from migrations.run import configuration, upgrade
from services.database import Database
from tests.support.databases import fresh_database

pytestmark = pytest.mark.integration


async def test_an_upgrade_beside_an_export_keeps_no_exit_from_its_order(
    postgres: EmbeddedPostgres,
) -> None:
    """An export reads orders in one snapshot, for as long as a disk takes.

    Where the migration waits for it, every statement on orders waits behind the migration.
    """
    urls = fresh_database(postgres.local_urls)
    await asyncio.to_thread(command.downgrade, configuration(urls.owner), "0041")
    database = Database(urls.app, urls.system)
    upgrading: asyncio.Task[None] | None = None
    try:
        async with database.snapshot_for_user(uuid4()) as export:
            await (await export.connection()).execute(text("SELECT count(*) FROM orders"))
            upgrading = asyncio.create_task(asyncio.to_thread(upgrade, urls.owner))
            await asyncio.sleep(3)
            assert not upgrading.done()
            async with database.as_system() as worker:
                # What marks an order as being sent begins with.
                connection = await worker.connection()
                await connection.execute(text("SELECT id, state FROM orders FOR UPDATE"))
    finally:
        if upgrading is not None:
            await upgrading
        await database.close()
