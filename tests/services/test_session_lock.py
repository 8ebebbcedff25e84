"""One process at a time does the chores, and another takes over when it dies or freezes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from services import session_lock
from services.database import Database
from services.session_lock import CHORES_LOCK, EXITS_LOCK, WATCH_LOCK, SessionLock
from services.trading.exits_alarm import ExitsAlarm
from tests.support.databases import fresh_database
from tests.support.stack import postgres_server

pytestmark = pytest.mark.integration

KEY = 4711
SECONDS = 10


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as it:
        yield it


def lock(urls: DatabaseUrls, name: str = "lock", **options: int) -> SessionLock:
    return SessionLock(urls.system, KEY, name, **options)


def holders(urls: DatabaseUrls) -> list[int]:
    with psycopg.connect(urls.superuser) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted",
            (KEY,),
        ).fetchall()
    return [row[0] for row in rows]


class Rounds:
    """A loop that says that it runs."""

    def __init__(self) -> None:
        self.begun = 0
        self.runs = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        self.runs.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.runs.clear()


async def test_one_of_two_runs_its_loop_and_the_other_takes_over_when_it_ends(
    urls: DatabaseUrls,
) -> None:
    rounds = [Rounds(), Rounds()]
    async with lock(urls) as second:
        async with lock(urls) as first:
            tasks = [
                asyncio.create_task(it.while_held(its.run))
                for it, its in zip((first, second), rounds, strict=True)
            ]
            await asyncio.wait(
                [asyncio.create_task(its.runs.wait()) for its in rounds],
                return_when=asyncio.FIRST_COMPLETED,
                timeout=SECONDS,
            )
            await asyncio.sleep(1.5)
            assert sum(its.runs.is_set() for its in rounds) == 1
            assert first.is_held != second.is_held
        await asyncio.wait_for(second.held(), SECONDS)
        assert not first.is_held
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_process_that_dies_gives_it_up_at_once(
    urls: DatabaseUrls, stack: AsyncExitStack
) -> None:
    first = await stack.enter_async_context(lock(urls))
    await asyncio.wait_for(first.held(), SECONDS)
    second = await stack.enter_async_context(lock(urls))
    rounds = Rounds()
    running = asyncio.create_task(first.while_held(rounds.run))
    await asyncio.wait_for(rounds.runs.wait(), SECONDS)
    (pid,) = holders(urls)

    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    await asyncio.wait_for(first.lost(), SECONDS)
    await asyncio.sleep(0)
    assert not rounds.runs.is_set(), "its loop was cancelled"
    await asyncio.wait_for(second.held(), SECONDS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_process_that_freezes_loses_it_after_its_silence(
    urls: DatabaseUrls, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = await stack.enter_async_context(lock(urls, silence_seconds=2))
    await asyncio.wait_for(frozen.held(), SECONDS)
    await asyncio.sleep(1.1)
    monkeypatch.setattr(session_lock, "PING_SECONDS", 60.0)
    await asyncio.sleep(1.1)  # the next pause is a long one
    monkeypatch.setattr(session_lock, "PING_SECONDS", 0.2)

    other = await stack.enter_async_context(lock(urls))

    await asyncio.wait_for(other.held(), SECONDS)


async def test_of_two_sweepers_one_sweeps_until_it_dies(
    urls: DatabaseUrls, stack: AsyncExitStack
) -> None:
    """Chores and reconciliation are the sweeper's: none of it runs in two processes at once."""
    sweeps: dict[str, int] = {"first": 0, "second": 0}
    running: set[str] = set()
    overlaps = 0

    def sweeper(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            nonlocal overlaps
            running.add(name)
            try:
                while True:
                    overlaps += len(running) > 1
                    sweeps[name] += 1
                    await asyncio.sleep(0.01)
            finally:
                running.discard(name)

        return run

    first = await stack.enter_async_context(lock(urls, "first"))
    await asyncio.wait_for(first.held(), SECONDS)
    second = await stack.enter_async_context(lock(urls, "second"))
    tasks = [
        asyncio.create_task(first.while_held(sweeper("first"))),
        asyncio.create_task(second.while_held(sweeper("second"))),
    ]
    await asyncio.sleep(1.5)
    before = dict(sweeps)

    await first.__aexit__()

    await asyncio.wait_for(second.held(), SECONDS)
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert before["first"] > 0
    assert before["second"] == 0
    assert sweeps["second"] > 0
    assert overlaps == 0


@pytest.mark.parametrize(
    ("key", "number"),
    [(CHORES_LOCK, 1937204592), (EXITS_LOCK, 1702390132), (WATCH_LOCK, 2002875491)],
)
async def test_a_process_of_another_version_that_has_a_lock_keeps_this_one_from_its_work(
    urls: DatabaseUrls, key: int, number: int
) -> None:
    """The numbers are what processes of all versions have in common."""
    rounds = Rounds()
    with psycopg.connect(urls.system, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (number,))
        async with SessionLock(urls.system, key, "lock") as ours:
            running = asyncio.create_task(ours.while_held(rounds.run))
            await asyncio.sleep(2 * session_lock.PING_SECONDS)
            before = rounds.begun
            other.close()
            await asyncio.wait_for(rounds.runs.wait(), SECONDS)
            running.cancel()

    assert before == 0


async def test_a_missing_exits_worker_is_alarmed(urls: DatabaseUrls, stack: AsyncExitStack) -> None:
    database = Database(urls.app, urls.system, pool_size=1)
    stack.push_async_callback(database.close)
    alarm = ExitsAlarm(database)
    with capture_logs() as missing:
        assert [await alarm.sweep() for _ in range(2)] == [1, 1]
    async with SessionLock(urls.system, EXITS_LOCK, "exits") as polling:
        await asyncio.wait_for(polling.held(), SECONDS)
        with capture_logs() as unwatched:
            assert await alarm.sweep() == 1
        async with SessionLock(urls.system, WATCH_LOCK, "watch") as watching:
            await asyncio.wait_for(watching.held(), SECONDS)
            with capture_logs() as present:
                assert [await alarm.sweep() for _ in range(2)] == [0, 0]

    assert [(it["event"], it["polls"], it["watches"]) for it in (*missing, *unwatched)] == [
        ("exits.no_worker", False, False),
        ("exits.no_worker", True, False),
    ]
    assert present == []


async def test_a_defect_in_keeping_a_lock_is_not_taken_for_holding_it(
    urls: DatabaseUrls, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_lock, "PING_SECONDS", 0.05)
    held = await stack.enter_async_context(lock(urls))
    await asyncio.wait_for(held.held(), SECONDS)

    async def fail(_self: SessionLock) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as defect:
        defect.setattr(SessionLock, "_try", fail)
        await asyncio.wait_for(held.lost(), SECONDS)
        assert holders(urls) == []
    await asyncio.wait_for(held.held(), SECONDS)


async def test_a_loop_that_fails_is_not_hidden(urls: DatabaseUrls, stack: AsyncExitStack) -> None:
    held = await stack.enter_async_context(lock(urls))

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(held.while_held(fail), SECONDS)


async def test_a_server_that_comes_back_is_tried_again(stack: AsyncExitStack) -> None:
    with postgres_server() as server:
        server.provision()
        held = await stack.enter_async_context(SessionLock(server.urls.system, KEY, "lock"))
        await asyncio.wait_for(held.held(), SECONDS)

        await asyncio.to_thread(server.stop)
        await asyncio.wait_for(held.lost(), SECONDS)
        await asyncio.to_thread(server.start)

        await asyncio.wait_for(held.held(), 2 * SECONDS)
