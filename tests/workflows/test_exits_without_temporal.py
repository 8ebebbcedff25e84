"""An exits worker's process while Temporal is away, frozen and back, and at its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

import worker
from activities.exits import ExitActivities
from activities.markets import MarketActivities
from activities.orders import OrderActivities
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.embedded.temporal import EmbeddedTemporal
from adapters.temporal.client import TemporalWorkflows
from bootstrap import ExitsContainer
from bootstrap.readiness import Readiness, SoleLoop
from domain.markets import Realm
from domain.orders import Side
from services.markets.watch_keeping import WatchKeeping
from services.markets.watching import VenueWatching
from services.session_lock import EXITS_LOCK, WATCH_LOCK, SessionLock
from services.trading.exit_dispatch import ExitDispatch
from services.trading.prompt_exits import PromptExits
from settings import Settings
from tests.support.databases import fresh_database
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import KEY
from tests.support.stack import temporal_server
from tests.support.temporal_client import connected

pytestmark = pytest.mark.integration

LOST_SECONDS = 6.0
"""Longer than an activity's heartbeats may stay away before the SDK cancels it."""


@pytest.fixture
def mortal() -> Iterator[EmbeddedTemporal]:
    with temporal_server() as server:
        yield server


@pytest.fixture
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def engine(urls: DatabaseUrls) -> AsyncIterator[Engine]:
    it = Engine(urls)
    yield it
    await it.close()


@dataclass(frozen=True)
class Running:
    """An exits worker that runs in this process."""

    container: ExitsContainer
    task: asyncio.Task[None]


def container_of(engine: Engine, workflows: TemporalWorkflows, url: str) -> ExitsContainer:
    """As `bootstrap.exits.assemble_exits` wires it, at a scripted venue."""
    prompt = PromptExits(workflows, engine.exit_service, engine.placing, engine.settling)
    watching = VenueWatching(
        engine.database, engine.venue, prompt, engine.wall, interval_seconds=0.2
    )
    watches = WatchKeeping(watching, engine.venue, realm=Realm.SIMULATED)
    dispatch = ExitDispatch(engine.database, prompt, engine.venue, realm=Realm.SIMULATED)
    polling_lock = SessionLock(url, EXITS_LOCK, "exits", silence_seconds=5)
    watch_lock = SessionLock(url, WATCH_LOCK, "watch", silence_seconds=3)
    loops = {"poll": SoleLoop(polling_lock, dispatch), "watch": SoleLoop(watch_lock, watches)}
    return ExitsContainer(
        workflows=workflows,
        exits=ExitActivities(engine.exit_service),
        orders=OrderActivities(engine.placing, engine.settling),
        markets=MarketActivities(watches),
        dispatch=dispatch,
        prompt=prompt,
        polling=polling_lock,
        watches=watches,
        watching=watch_lock,
        readiness=Readiness(None, workflows, loops),
    )


@asynccontextmanager
async def exits_worker(
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    urls: DatabaseUrls,
    workflows: TemporalWorkflows,
) -> AsyncIterator[Running]:
    container = container_of(engine, workflows, urls.system)

    @asynccontextmanager
    async def build(_settings: Settings) -> AsyncIterator[ExitsContainer]:
        yield container

    monkeypatch.setattr(worker, "build_exits", build)
    task = asyncio.create_task(worker.run_exits(Settings(task_queue=workflows._task_queue)))
    try:
        await until(lambda: container.polling.is_held and container.watching.is_held, 10)
        yield Running(container, task)
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 20)


async def until(is_so: Callable[[], bool], seconds: float) -> float:
    """Wait for it; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    return loop.time() - began


def sold(engine: Engine, bot: RunningBot, symbol: str) -> bool:
    sends = engine.account(bot).sends
    return any(it.side is Side.SELL and it.symbol == symbol for it in sends)


async def stop_out(engine: Engine, bot: RunningBot, symbol: str) -> None:
    """Let the price cross the stop, which is at 97; the exit leaves soon."""
    engine.venue.market.last[symbol] = Decimal(90)
    await until(lambda: sold(engine, bot, symbol), 5)


async def ask_to_leave(engine: Engine, bot: RunningBot, symbol: str) -> None:
    """Only the rows tell it; the exit leaves soon."""
    await engine.execute(
        "UPDATE positions SET close_requested = 'manual', close_cause = 'c' WHERE symbol = :symbol",
        symbol=symbol,
    )
    await until(lambda: sold(engine, bot, symbol), 3)


async def test_stops_fire_and_exits_leave_after_temporal_has_died(
    engine: Engine, urls: DatabaseUrls, mortal: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await engine.start_bot()
    for symbol in ("BTC-USD", "ETH-USD"):
        await engine.open_position(bot, symbol)
    workflows = TemporalWorkflows(mortal.address, "default", "dies")
    async with exits_worker(monkeypatch, engine, urls, workflows) as running:
        await asyncio.sleep(2)  # its activities are under way
        assert running.container.readiness.is_ready
        mortal.stop()
        await asyncio.sleep(LOST_SECONDS)

        assert running.container.readiness.parts["temporal"] is False
        await stop_out(engine, bot, "BTC-USD")
        await ask_to_leave(engine, bot, "ETH-USD")

        assert not running.task.done()


async def test_stops_fire_while_temporal_is_frozen_and_once_it_is_back(
    engine: Engine, urls: DatabaseUrls, mortal: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await engine.start_bot()
    for symbol in ("BTC-USD", "ETH-USD"):
        await engine.open_position(bot, symbol)
    workflows = TemporalWorkflows(mortal.address, "default", "freezes")
    async with exits_worker(monkeypatch, engine, urls, workflows) as running:
        client = await workflows.client()
        await asyncio.sleep(2)
        assert mortal.pid is not None
        os.kill(mortal.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(LOST_SECONDS)
            await stop_out(engine, bot, "BTC-USD")
        finally:
            os.kill(mortal.pid, signal.SIGCONT)
        await asyncio.sleep(2)

        await stop_out(engine, bot, "ETH-USD")

        assert not running.task.done()
        watch = await client.get_workflow_handle(f"watch:{KEY}").describe()
        assert watch.status is WorkflowExecutionStatus.RUNNING, "operators see it"


async def test_an_exits_worker_that_starts_while_temporal_is_away_does_its_work(
    engine: Engine, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await engine.start_bot()
    for symbol in ("BTC-USD", "ETH-USD"):
        await engine.open_position(bot, symbol)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workflows = TemporalWorkflows(f"127.0.0.1:{port}", "default", "away")
    async with exits_worker(monkeypatch, engine, urls, workflows) as running:
        await stop_out(engine, bot, "BTC-USD")
        await ask_to_leave(engine, bot, "ETH-USD")

        parts = {"temporal": False, "poll": True, "watch": True}
        await until(lambda: running.container.readiness.parts == parts, 5)


async def test_an_exits_worker_serves_its_queue_once_temporal_answers(
    engine: Engine,
    urls: DatabaseUrls,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = await engine.start_bot()
    await engine.fire(await engine.open_position(bot), "stop")
    away, serving = TemporalWorkflows("127.0.0.1:1", "default", "late"), asyncio.Event()
    make = worker._exits_worker

    def watched(*arguments: object) -> object:
        serving.set()
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "_exits_worker", watched)
    async with exits_worker(monkeypatch, engine, urls, away) as running:
        await asyncio.sleep(1)
        was_early = serving.is_set()
        away._client = client
        await asyncio.wait_for(serving.wait(), 10)
        await until(lambda: running.container.readiness.is_ready, 5)

    assert not was_early
    assert not running.container.readiness.is_ready, "it has ended"


async def test_an_exits_worker_that_ends_lets_another_watch_and_poll_at_once(
    engine: Engine, urls: DatabaseUrls, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await engine.start_bot()
    position = await engine.open_position(bot)
    workflows = connected(client, "ends")
    is_over = asyncio.Event()

    async def hang() -> None:
        await is_over.wait()

    engine.account(bot).meanwhile = hang  # one account's venue does not answer
    async with exits_worker(monkeypatch, engine, urls, workflows) as running:
        await engine.fire(position, "stop")
        await workflows.wake_exits(bot.trader.user_id, bot.bot_id)  # an activity sends it
        await until(lambda: sold(engine, bot, "BTC-USD"), 10)
        async with (
            SessionLock(urls.system, EXITS_LOCK, "exits", silence_seconds=5) as polling,
            SessionLock(urls.system, WATCH_LOCK, "watch", silence_seconds=3) as watching,
        ):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: polling.is_held and watching.is_held, 3)
            assert not running.task.done(), "it lets what is under way end"
        is_over.set()
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        if "watch" in execution.id or str(bot.bot_id) in execution.id:
            await client.get_workflow_handle(execution.id).terminate("the test is over")
