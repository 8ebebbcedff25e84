"""The main worker's loops run from the start of its process on, whether or not Temporal answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

import worker
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.temporal.client import TemporalWorkflows
from bootstrap.readiness import Readiness, SoleLoop
from services.session_lock import CHORES_LOCK, SessionLock
from settings import Settings
from tests.support.databases import fresh_database

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


class Loop:
    """A loop that tells that it began."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    @property
    def gets_on(self) -> bool:
        return self.begun.is_set()

    async def run(self) -> None:
        self.begun.set()
        await asyncio.Event().wait()


async def test_the_loops_wait_for_no_temporal(
    urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper, pump, bars = Loop(), Loop(), Loop()
    workflows = TemporalWorkflows("127.0.0.1:1", "default", "nobody")
    chores = SessionLock(urls.system, CHORES_LOCK, "chores")

    @asynccontextmanager
    async def build(_settings: Settings) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(
            workflows=workflows,
            chores=chores,
            sweeper=sweeper,
            pump=pump,
            bars=bars,
            readiness=Readiness(None, workflows, {"chores": SoleLoop(chores, sweeper)}),
        )

    monkeypatch.setattr(worker, "build_worker", build)
    running = asyncio.create_task(worker.run(Settings()))

    async with asyncio.timeout(10):
        await sweeper.begun.wait()
        await pump.begun.wait()
        await bars.begun.wait()
    assert not running.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)


async def test_what_breaks_the_connection_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "CONNECT_DELAY_SECONDS", 0.01)
    workflows, attempts = TemporalWorkflows("", "default", "q"), 0
    workflows._client = object()  # type: ignore[assignment]
    serves = asyncio.Event()

    @asynccontextmanager
    async def make(_client: object) -> AsyncIterator[None]:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("a fatal error of the SDK")
        serves.set()
        yield

    readiness = Readiness(None, workflows, {})

    async with worker._serving(workflows, make, readiness):  # type: ignore[arg-type]
        was_ready = readiness.serves
        await asyncio.wait_for(serves.wait(), 5)
        await asyncio.sleep(0.05)
        is_ready = readiness.serves

    assert (attempts, was_ready, is_ready, readiness.serves) == (3, False, True, False)
