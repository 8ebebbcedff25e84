"""Following an alert: however often it is begun, one workflow looks until the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.support.alert_worker import ACCEPTED, EXECUTED, PROCESSING, AlertStage, alert_stage

pytestmark = pytest.mark.integration

# One local activity and nothing else: what a storm costs hundreds of times.
EVENTS_OF_ONE_LOOK = 6


@pytest.fixture
async def alert(client: Client) -> AsyncIterator[AlertStage]:
    async with alert_stage(client) as it:
        yield it


async def test_a_decided_alert_is_looked_at_once(alert: AlertStage) -> None:
    await alert.start(EXECUTED)
    result = await asyncio.wait_for(alert.handle.result(), 15)

    history = await alert.handle.fetch_history()
    assert (result, alert.looks) == (EXECUTED, 1)
    assert len(history.events) == EVENTS_OF_ONE_LOOK


async def test_it_looks_again_until_the_end(alert: AlertStage) -> None:
    await alert.start(PROCESSING, RuntimeError("down"), ACCEPTED, EXECUTED)

    assert await asyncio.wait_for(alert.handle.result(), 30) == EXECUTED
    assert alert.looks == 4


async def test_beginning_again_changes_nothing(alert: AlertStage) -> None:
    await alert.start(EXECUTED, delay_seconds=1)
    first = (await alert.handle.describe()).run_id
    await alert.start(EXECUTED)
    await alert.start(EXECUTED, delay_seconds=1)

    described = await alert.handle.describe()

    assert described.run_id == first
    assert described.status is WorkflowExecutionStatus.RUNNING
    await asyncio.wait_for(alert.handle.result(), 15)
    assert alert.looks == 1
