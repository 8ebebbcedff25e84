"""A worker's metrics page is there from the start, and says when the worker is ready."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
import pytest

from adapters.embedded.ports import free_port
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from bootstrap.core import metrics_runtime
from bootstrap.readiness import Readiness, SoleLoop
from services.session_lock import SessionLock
from tests.support.databases import fresh_database
from tests.support.engine import FakeWorkflows

pytestmark = pytest.mark.integration

KEY = 4712
SECONDS = 10
READY = re.compile(r"^nija_worker_ready(?:\{[^}]*\})? (\d)$", re.MULTILINE)
PART = re.compile(r'^nija_worker_part_ready\{.*part="(\w+)".*\} (\d)$', re.MULTILINE)


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@dataclass
class Rounds:
    """A loop that gets on or hangs."""

    gets_on: bool = False


class Page:
    """What a worker's page says."""

    def __init__(self) -> None:
        self.port = free_port()

    def parts(self) -> dict[str, bool]:
        """Each part, and all of them as `ready`."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        parts = {name: value == "1" for name, value in PART.findall(text)}
        (ready,) = READY.findall(text)
        return parts | {"ready": ready == "1"}

    async def shows(self, **parts: bool) -> bool:
        """Whether it comes to say that, and nothing else."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while self.parts() != parts:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.1)
        return self.parts() == parts


@dataclass
class Worker:
    """A worker with one loop."""

    page: Page
    readiness: Readiness
    workflows: FakeWorkflows
    rounds: Rounds
    lock: SessionLock


@asynccontextmanager
async def worker_of(urls: DatabaseUrls) -> AsyncIterator[Worker]:
    page, workflows, rounds = Page(), FakeWorkflows(), Rounds()
    lock = SessionLock(urls.system, KEY, "lock")
    runtime = metrics_runtime(page.port)
    readiness = Readiness(runtime, workflows, {"watch": SoleLoop(lock, rounds)})
    yield Worker(page, readiness, workflows, rounds, lock)


async def test_the_page_says_not_ready_until_every_part_is(urls: DatabaseUrls) -> None:
    async with worker_of(urls) as it:
        assert it.page.parts() == {"temporal": False, "watch": False, "ready": False}
        keeping = asyncio.create_task(it.readiness.keep())
        async with it.lock:
            await asyncio.wait_for(it.lock.held(), SECONDS)
            it.readiness.serves = True
            assert await it.page.shows(temporal=True, watch=False, ready=False), "no round yet"
            it.rounds.gets_on = True
            assert await it.page.shows(temporal=True, watch=True, ready=True)

            it.workflows.is_down = True
            assert await it.page.shows(temporal=False, watch=True, ready=False)
            it.workflows.is_down = False
            it.rounds.gets_on = False
            assert await it.page.shows(temporal=True, watch=False, ready=False), "it hangs"
            it.rounds.gets_on = True
            assert await it.page.shows(temporal=True, watch=True, ready=True)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        assert it.page.parts() == {"temporal": False, "watch": False, "ready": False}


async def test_who_stands_by_is_ready_as_long_as_the_server_says_that_another_has_the_lock(
    urls: DatabaseUrls,
) -> None:
    async with worker_of(urls) as it:
        it.readiness.serves = True
        keeping = asyncio.create_task(it.readiness.keep())
        with psycopg.connect(urls.system, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", (KEY,))
            assert await it.page.shows(temporal=True, watch=False, ready=False), "not asked yet"
            async with it.lock:
                assert await it.page.shows(temporal=True, watch=True, ready=True)
                assert not it.lock.is_held
                other.close()
                assert await it.page.shows(temporal=True, watch=False, ready=False)
        keeping.cancel()
