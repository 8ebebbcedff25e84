"""One Temporal development server for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.embedded.temporal import EmbeddedTemporal
from tests.support.bot_worker import BotStage, bot_stage
from tests.support.stack import temporal_server


@pytest.fixture(scope="session")
def temporal() -> Iterator[EmbeddedTemporal]:
    with temporal_server() as server:
        yield server


@pytest.fixture
async def client(temporal: EmbeddedTemporal) -> Client:
    return await Client.connect(temporal.address, data_converter=pydantic_data_converter)


@pytest.fixture
async def stage(client: Client) -> AsyncIterator[BotStage]:
    async with bot_stage(client) as it:
        yield it
