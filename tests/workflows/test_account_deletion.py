"""The workflow that deletes an account: it looks again until nothing is left."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import Client

from domain.contracts.accounts import DeletionStep
from tests.support.deletion_worker import deletion_stage
from workflows import policies

pytestmark = pytest.mark.integration

SOON = DeletionStep(wait_seconds=0.01, summary="waiting")
DONE = DeletionStep(summary="deleted")


async def test_it_looks_again_until_nothing_is_left(client: Client) -> None:
    async with deletion_stage(client, SOON, RuntimeError("the database was away"), DONE) as stage:
        await asyncio.wait_for(stage.handle.result(), 30)

        assert stage.erasing.asked == [stage.user_id] * 3


async def test_starting_it_twice_starts_it_once(client: Client) -> None:
    slow = DeletionStep(wait_seconds=60, summary="leaving 1 live positions")
    async with deletion_stage(client, slow) as stage:
        first = (await stage.handle.describe()).run_id
        await stage.accounts.start_deletion(stage.user_id)

        assert (await stage.handle.describe()).run_id == first
        await stage.handle.terminate()


async def test_a_long_wait_continues_as_new(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "HISTORY_EVENTS_MAX", 20)
    async with deletion_stage(client, SOON, SOON, SOON, SOON, DONE) as stage:
        first = (await stage.handle.describe()).run_id
        await asyncio.wait_for(stage.handle.result(), 30)

        assert (await stage.handle.describe()).run_id != first
        assert len(stage.erasing.asked) == 5
