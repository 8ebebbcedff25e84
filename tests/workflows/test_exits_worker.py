"""Exits need no part of the main worker: real Temporal, real PostgreSQL, a scripted venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlmodel import select
from temporalio.client import Client

from adapters.embedded.postgres import EmbeddedPostgres
from domain.contracts.bots import BotSignal, Nudge
from domain.contracts.exits import exits_workflow_id
from domain.orders import OrderState, Side
from models.trading import Position
from services.database import Database
from services.orders.placing import OrderPlacing
from services.orders.settling import OrderSettling
from tests.support.databases import fresh_database
from tests.support.engine import GRACE, RunningBot
from tests.support.switched import SwitchedEngine, switched_engine

pytestmark = pytest.mark.integration

SLOTS = 4


@pytest.fixture
async def engine(postgres: EmbeddedPostgres, client: Client) -> AsyncIterator[SwitchedEngine]:
    async with switched_engine(fresh_database(postgres.local_urls), client) as engine:
        yield engine
        engine.venue.market.released.set()
        await engine.terminate_bots()


async def fired(engine: SwitchedEngine) -> tuple[RunningBot, Position]:
    """A bot whose position's stop has fired; nothing was woken for it."""
    bot = await engine.start_bot()
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    return bot, position


async def wake(engine: SwitchedEngine, bot: RunningBot) -> None:
    await engine.temporal.wake_exits(bot.trader.user_id, bot.bot_id)


def sales(engine: SwitchedEngine) -> int:
    return sum(request.side is Side.SELL for request in engine.venue.arrivals)


async def until_closed(engine: SwitchedEngine, position: Position) -> None:
    await engine.until("SELECT state FROM positions WHERE id = :id", "closed", id=position.id)


async def test_hanging_hunts_in_every_slot_of_the_main_worker_keep_no_exit_waiting(
    engine: SwitchedEngine,
) -> None:
    bot, position = await fired(engine)
    bots = await engine.start_bots(SLOTS + 1)
    engine.venue.market.hanging.add("candles")
    async with engine.main_worker(activities_at_once=SLOTS), engine.exits_worker():
        for other in bots:
            await engine.temporal.signal_bot(
                other.trader.user_id, other.bot_id, BotSignal.UPDATE_SETTINGS, Nudge()
            )
        await asyncio.sleep(2)  # every slot has a hunt by now

        await wake(engine, bot)

        await engine.until_left(seconds=3)
        await until_closed(engine, position)
        engine.venue.market.released.set()


async def test_exits_need_no_main_worker(engine: SwitchedEngine) -> None:
    bot, position = await fired(engine)
    async with engine.exits_worker():
        await wake(engine, bot)

        await engine.until_left(seconds=3)
        await until_closed(engine, position)


async def test_an_exhausted_pool_of_the_main_worker_keeps_no_exit_waiting(
    engine: SwitchedEngine,
) -> None:
    bot, _position = await fired(engine)
    async with AsyncExitStack() as held, engine.worker():
        for _ in range(10):
            session = await held.enter_async_context(engine.database.for_user(bot.trader.user_id))
            await session.connection()

        await wake(engine, bot)

        await engine.until_left(seconds=3)


async def test_a_saturated_main_queue_keeps_no_exit_waiting(engine: SwitchedEngine) -> None:
    """More bots hear of a bar than the main worker gets through meanwhile."""
    bot, _position = await fired(engine)
    bots = await engine.start_bots(30)
    async with engine.main_worker(activities_at_once=1), engine.exits_worker():
        for _ in range(3):
            await asyncio.gather(
                *(
                    engine.temporal.signal_bot(
                        other.trader.user_id, other.bot_id, BotSignal.BAR_CLOSED, Nudge()
                    )
                    for other in bots
                )
            )

        await wake(engine, bot)

        await engine.until_left(seconds=4)


async def test_an_exit_that_nothing_was_woken_for_is_found_in_the_rows(
    engine: SwitchedEngine,
) -> None:
    _bot, position = await fired(engine)
    async with engine.exits_worker():
        polling = asyncio.create_task(engine.dispatch.run())

        await engine.until_left(seconds=5)
        await until_closed(engine, position)
        polling.cancel()


async def test_a_bot_row_that_a_frozen_process_holds_keeps_no_exit_waiting(
    engine: SwitchedEngine,
) -> None:
    bot, _position = await fired(engine)
    async with engine.exits_worker(), engine.database.as_system() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("SELECT id FROM bots FOR NO KEY UPDATE")

        await wake(engine, bot)

        await engine.until_left(seconds=3)


async def test_a_position_that_another_transaction_holds_keeps_no_other_exit_waiting(
    engine: SwitchedEngine,
) -> None:
    bot = await engine.start_bot()
    held = await engine.open_position(bot)
    free = await engine.open_position(bot, "ETH-USD")
    await engine.fire(held, "stop")
    await engine.fire(free, "stop")
    async with engine.exits_worker():
        async with engine.database.as_system() as session:
            await session.exec(select(Position).where(Position.id == held.id).with_for_update())
            await wake(engine, bot)
            await until_closed(engine, free)
            assert sales(engine) == 1

        await until_closed(engine, held)


async def test_two_processes_that_carry_the_same_exit_send_it_once(
    engine: SwitchedEngine,
) -> None:
    """The bot's workflow of an older installation and the exits worker may both name it."""
    bot, _position = await fired(engine)
    (task,) = (await engine.exit_service.make_due(bot.ref)).orders
    others = [engine.database, engine.exits_database]

    async def place(database: Database) -> OrderState:
        settling = OrderSettling(database, engine.venue, engine.wall, grace=GRACE)
        placing = OrderPlacing(database, engine.venue, engine.wall, settling)
        return (await placing.place(bot.trader.user_id, task.order_id)).state

    await asyncio.gather(*(place(database) for database in others * 4))

    assert sales(engine) == 1


async def test_the_workflow_ends_when_nothing_is_due(
    engine: SwitchedEngine, client: Client
) -> None:
    bot, position = await fired(engine)
    async with engine.exits_worker():
        await wake(engine, bot)

        handle = client.get_workflow_handle(exits_workflow_id(bot.bot_id))
        await asyncio.wait_for(handle.result(), 10)

    await until_closed(engine, position)
    assert sales(engine) == 1


async def test_a_stopped_bot_that_is_flat_ends_its_run(engine: SwitchedEngine) -> None:
    """The exits worker ends no runs: the bot's own workflow does, soon after its last exit."""
    bot = await engine.start_bot()
    await engine.open_position(bot)
    async with engine.worker():
        await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)

        await engine.until("SELECT state FROM bot_runs WHERE id = :id", "ended", id=bot.run_id)
