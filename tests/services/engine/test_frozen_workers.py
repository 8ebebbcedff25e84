"""A worker that freezes or vanishes in the middle of a transaction gives its locks back."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from adapters.embedded.postgres_roles import DatabaseUrls
from models.trading import Position
from services import database
from services.database import IDLE_TIMEOUT_MS, SNAPSHOT_IDLE_TIMEOUT_MS, Database
from tests.support.engine import Engine, RunningBot

pytestmark = pytest.mark.integration


async def test_a_frozen_worker_does_not_keep_an_exit_waiting(
    engine: Engine,
    bot: RunningBot,
    shared_database: DatabaseUrls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    monkeypatch.setattr(database, "IDLE_TIMEOUT_MS", 500)
    frozen = Database(shared_database.app, shared_database.system)
    holding, thawed = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        async with frozen.for_user(bot.trader.user_id) as session:
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
            holding.set()
            await thawed.wait()
            await session.exec(select(Position))

    worker = asyncio.create_task(freeze())
    await holding.wait()

    view = await asyncio.wait_for(engine.guard(bot), timeout=4)

    thawed.set()
    with pytest.raises(DBAPIError):
        await worker
    await frozen.close()
    assert [task.leg for task in view.orders] == ["stop"]


async def test_no_door_lets_a_transaction_do_nothing_for_long(engine: Engine) -> None:
    """A snapshot may wait longer: its reader writes a file, and it locks nothing."""
    asked = text(
        "SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
    )

    async with engine.database.for_user(uuid4()) as session:
        as_user = (await (await session.connection()).execute(asked)).scalar_one()
    async with engine.database.as_system() as session:
        as_system = (await (await session.connection()).execute(asked)).scalar_one()
    async with engine.database.snapshot_for_user(uuid4()) as session:
        in_snapshot = (await (await session.connection()).execute(asked)).scalar_one()
    async with engine.database.for_user(uuid4()) as session:
        afterwards = (await (await session.connection()).execute(asked)).scalar_one()

    assert (as_user, as_system, afterwards) == (IDLE_TIMEOUT_MS,) * 3
    assert in_snapshot == SNAPSHOT_IDLE_TIMEOUT_MS
