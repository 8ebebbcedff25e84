"""The export workflow on a real Temporal server."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from domain.contracts.exports import ExportResult
from tests.support.export_worker import export_stage

pytestmark = pytest.mark.integration

WRITTEN = ExportResult(state="ready", rows=3)


async def test_an_attempt_that_fails_is_made_again(client: Client) -> None:
    async with export_stage(client, RuntimeError("no room"), WRITTEN) as stage:
        result = await asyncio.wait_for(stage.handle.result(), 30)

    assert result == WRITTEN
    assert stage.writing.asked == [stage.export_id] * 2
    assert stage.writing.given_up == []


async def test_the_last_attempt_is_followed_by_the_truth(client: Client) -> None:
    final = ApplicationError("defect", non_retryable=True)
    async with export_stage(client, final) as stage:
        result = await asyncio.wait_for(stage.handle.result(), 30)

    assert result.state == "failed"
    assert stage.writing.given_up == [stage.export_id]


async def test_starting_it_again_is_safe(client: Client) -> None:
    async with export_stage(client, WRITTEN) as stage:
        await stage.exports.start_export(stage.user_id, stage.export_id)

        assert await asyncio.wait_for(stage.handle.result(), 30) == WRITTEN
