"""The delivery workflow: looks again when told to, and ends when nothing is left to send."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import Client

from domain.contracts.notifications import DeliverResult, notify_workflow_id
from tests.support.notifications import until
from tests.support.notify_worker import notify_stage

pytestmark = pytest.mark.integration

DONE, LATER = DeliverResult(), DeliverResult(wait_seconds=3600)


async def test_it_ends_when_nothing_is_left_and_begins_anew(client: Client) -> None:
    async with notify_stage(client, DONE) as stage:
        handle = client.get_workflow_handle(notify_workflow_id(stage.user_id))
        await stage.workflows.wake_notifier(stage.user_id)
        await asyncio.wait_for(handle.result(), 30)
        await stage.workflows.wake_notifier(stage.user_id)
        await until(lambda: stage.delivery.looks >= 2)


async def test_news_wakes_one_that_waits_for_a_retry(client: Client) -> None:
    async with notify_stage(client, LATER, LATER, DONE) as stage:
        await stage.workflows.wake_notifier(stage.user_id)
        await until(lambda: stage.delivery.looks >= 1)
        handle = client.get_workflow_handle(notify_workflow_id(stage.user_id))
        for look in (2, 3):
            await stage.workflows.wake_notifier(stage.user_id)
            await until(lambda look=look: stage.delivery.looks >= look)
        await asyncio.wait_for(handle.result(), 30)


async def test_a_look_that_fails_is_repeated(client: Client) -> None:
    async with notify_stage(client, RuntimeError("the database was away"), DONE) as stage:
        await stage.workflows.wake_notifier(stage.user_id)
        handle = client.get_workflow_handle(notify_workflow_id(stage.user_id))
        await asyncio.wait_for(handle.result(), 30)
        assert stage.delivery.looks == 2
