"""Orders that are on their way while their keys are removed by force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import uuid4

import pytest

from models.connections import Connection, ConnectionStatus
from services.connections import ANSWERS_SECONDS_MAX
from services.errors import ObjectNotFound
from services.key_uses import SENDS_SECONDS_MAX
from tests.credentials.processes import Installation, Process

pytestmark = pytest.mark.integration


@pytest.fixture
async def leaving(installation: Installation) -> Installation:
    """A position that was asked to leave."""
    await installation.ask_to_leave(await installation.open_position())
    return installation


@pytest.fixture(autouse=True)
async def _no_faults_left(installation: Installation) -> AsyncIterator[None]:
    yield
    installation.simulator.lift_faults()


def slow_orders(installation: Installation, seconds: float) -> None:
    fault = {"kind": "slow", "call": "place", "count": 1, "seconds": seconds}
    installation.simulator.post("/control/faults", fault)


async def begin_to_leave(installation: Installation, worker: Process) -> None:
    await worker.prompt.wake_exits(installation.trader.user_id, installation.bot.bot_id)
    for _ in range(200):
        if [order.state for order in await installation.exits()] == ["sending"]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the exit was not sent")


async def test_the_removal_answers_once_the_venue_has(leaving: Installation) -> None:
    worker = leaving.workers[0]
    slow_orders(leaving, 3)
    await begin_to_leave(leaving, worker)
    began = monotonic()

    assert await leaving.remove() == "removed"

    took = monotonic() - began
    (exit_,) = await leaving.exits()
    assert (exit_.state, took > 2) == ("filled", True), took
    requests = worker.requests
    await asyncio.sleep(1)
    assert worker.requests == requests


async def test_a_send_without_an_end_is_waited_for_no_longer_than_it_may_take(
    leaving: Installation,
) -> None:
    worker = leaving.workers[0]
    fault = {"kind": "timeout", "call": "place", "count": 1, "applied": True}
    leaving.simulator.post("/control/faults", fault)
    await begin_to_leave(leaving, worker)
    began = monotonic()

    assert await leaving.remove() == "removed"

    took, requests = monotonic() - began, worker.requests
    await asyncio.sleep(2)
    assert took < ANSWERS_SECONDS_MAX + SENDS_SECONDS_MAX
    assert worker.requests == requests
    (exit_,) = await leaving.exits()
    assert exit_.state == "unknown"


async def test_an_exit_whose_mark_has_not_committed_is_waited_for(leaving: Installation) -> None:
    """The keys were read before they were removed, the row says later that the order is sent."""
    worker = leaving.workers[0]
    marking, may_commit = asyncio.Event(), asyncio.Event()
    mark_new = worker.placing.mark_new

    async def mark(*of: object) -> object:
        marked = await mark_new(*of)  # type: ignore[arg-type]
        marking.set()
        await may_commit.wait()
        return marked

    worker.placing.mark_new = mark  # type: ignore[method-assign,assignment]
    await worker.prompt.wake_exits(leaving.trader.user_id, leaving.bot.bot_id)
    await marking.wait()
    removing = asyncio.create_task(leaving.remove())
    await asyncio.sleep(2)

    was_done = removing.done()
    may_commit.set()

    assert await removing == "removed"
    assert not was_done
    (exit_,) = await leaving.exits()
    assert exit_.state == "filled"


async def test_an_exit_that_was_read_before_the_removal_is_not_sent_after_it(
    leaving: Installation,
) -> None:
    worker = leaving.workers[0]
    account = worker.placing.account
    asked, may_go = asyncio.Event(), asyncio.Event()

    async def wait(*of: object) -> object:
        found = await account(*of)  # type: ignore[arg-type]
        asked.set()
        await may_go.wait()
        return found

    worker.placing.account = wait  # type: ignore[method-assign,assignment]
    await worker.prompt.wake_exits(leaving.trader.user_id, leaving.bot.bot_id)
    await asked.wait()
    assert await leaving.remove() == "removed"
    requests = worker.requests

    may_go.set()
    await asyncio.sleep(1)

    assert (worker.requests, leaving.sold_at_the_venue()) == (requests, [])


async def test_a_second_removal_is_refused_no_sooner_than_the_first_is_answered(
    leaving: Installation,
) -> None:
    """The keys are gone for who asks again, and their last request may still leave."""
    worker = leaving.workers[0]
    slow_orders(leaving, ANSWERS_SECONDS_MAX + 3)
    await begin_to_leave(leaving, worker)
    first = asyncio.create_task(leaving.remove())
    for _ in range(1_000):
        async with leaving.api.database.as_system() as session:
            connection = await session.get_one(Connection, leaving.connection_id)
        if connection.status == ConnectionStatus.REMOVED:
            break
        await asyncio.sleep(0.02)
    assert not first.done()

    with pytest.raises(ObjectNotFound):
        await leaving.remove()

    (exit_,) = await leaving.exits()
    assert exit_.state != "sending"
    assert await first == "removed"
    with pytest.raises(ObjectNotFound):
        await leaving.connections.remove(leaving.trader.principal, uuid4())
