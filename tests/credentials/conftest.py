"""A real database, the exchange simulator, and processes that trade at it with stored keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from tests.credentials.processes import Installation, open_installation
from tests.support.databases import fresh_database
from tests.support.simulator_process import Simulator, running_simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running_simulator(
        NIJA_SIMULATOR_SYMBOLS="BTC-USD",
        NIJA_SIMULATOR_SEED="11",
        NIJA_SIMULATOR_DEPTH_USD="500000",
    ) as it:
        yield it


@pytest.fixture
async def installation(
    postgres: EmbeddedPostgres, simulator: Simulator
) -> AsyncIterator[Installation]:
    async with AsyncExitStack() as stack:
        urls = fresh_database(postgres.local_urls)
        yield await stack.enter_async_context(open_installation(urls, simulator))
