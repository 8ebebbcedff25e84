"""A worker that freezes or vanishes in the middle of a transaction gives its locks back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from models.markets import VenueQuote, VenueState
from models.trading import Position
from services import database
from services.database import IDLE_TIMEOUT_MS, SNAPSHOT_IDLE_TIMEOUT_MS, Database
from services.markets.watching import VenueWatching
from tests.support.databases import fresh_database
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY

pytestmark = pytest.mark.integration

FIRED_SECONDS_MAX = 5.0
"""A frozen watch keeps its rows for 3 s; a look a second and a busy machine come on top."""


class FreezingDatabase(Database):
    """Freezes in the first transaction of the system that has changed anything, before it commits.

    Attributes:
        frozen: set once it has.
    """

    def __init__(self, urls: DatabaseUrls) -> None:
        super().__init__(urls.app, urls.system)
        self.frozen = asyncio.Event()

    @asynccontextmanager
    async def as_system(self) -> AsyncIterator[AsyncSession]:
        async with super().as_system() as session:
            yield session
            connection = await session.connection()
            changed = text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            if (await connection.execute(changed)).scalar_one():
                self.frozen.set()
                await asyncio.Event().wait()


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

    async with asyncio.timeout(4):
        while not (view := await engine.guard(bot)).orders:  # noqa: ASYNC110 - it waits for nothing that is locked
            await asyncio.sleep(0.1)

    thawed.set()
    with pytest.raises(DBAPIError):
        await worker
    await frozen.close()
    assert [task.leg for task in view.orders] == ["stop"]


@pytest.fixture
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def crossed(urls: DatabaseUrls) -> AsyncIterator[tuple[Engine, Position]]:
    """A position whose stop at 97 the watch has seen before the price crosses it."""
    engine = Engine(urls)
    position = await engine.open_position(await engine.start_bot())
    await engine.watching.look(KEY)
    engine.venue.market.last["BTC-USD"] = Decimal("96.9")
    yield engine, position
    await engine.close()


async def seconds_until_fired(engine: Engine, position: Position) -> float:
    """How long another process's watch takes to fire a position's stop."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    watch = asyncio.create_task(engine.watching.watch(KEY))
    try:
        async with asyncio.timeout(30):
            while (await engine.triggers(position))["stop"].state != "fired":  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    return loop.time() - began


@pytest.mark.parametrize("rows", [VenueState, VenueQuote, Position])
async def test_a_watcher_that_froze_in_its_transaction_keeps_no_stop_from_firing(
    crossed: tuple[Engine, Position], urls: DatabaseUrls, rows: type[SQLModel]
) -> None:
    """The lock of the watch passes on after 3 s; the rows that every look writes may not."""
    engine, position = crossed
    frozen = Database(urls.app, urls.system)
    async with frozen.as_system() as session:
        await session.exec(select(rows).with_for_update(key_share=True))

        seconds = await seconds_until_fired(engine, position)

    await frozen.close()
    assert seconds < FIRED_SECONDS_MAX, f"every stop of the venue waited {seconds:.1f} s"


async def test_a_watcher_that_froze_while_it_fired_gives_its_triggers_back(
    crossed: tuple[Engine, Position], urls: DatabaseUrls
) -> None:
    engine, position = crossed
    frozen = FreezingDatabase(urls)
    watching = VenueWatching(
        frozen, engine.venue, engine.workflows, engine.wall, interval_seconds=1
    )
    look = asyncio.create_task(watching.look(KEY))
    await frozen.frozen.wait()

    seconds = await seconds_until_fired(engine, position)

    look.cancel()
    await asyncio.gather(look, return_exceptions=True)
    await watching.close()
    await frozen.close()
    assert seconds < FIRED_SECONDS_MAX, f"the stop waited {seconds:.1f} s"


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
