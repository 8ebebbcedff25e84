"""Keys that were removed or replaced are used by no process, from the answer to the removal on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

import pytest

from domain.ports import AccountRef, VenueRefusedKeys, VenueUnavailable
from models.account_life import AccountDeletion
from services.identity.erasing import Erasing
from services.key_uses import LEASES_SECONDS
from tests.credentials.processes import Installation, Process, ask_again_and_again

pytestmark = pytest.mark.integration


async def _replace(installation: Installation) -> None:
    other = installation.simulator.open_account({"USD": "10"})
    await installation.connections.rotate(
        installation.trader.principal, installation.connection_id, credentials=other
    )


async def _remove(installation: Installation) -> None:
    assert await installation.remove() == "removed"


async def _delete_the_user(installation: Installation) -> None:
    api, user_id = installation.api, installation.trader.user_id
    await installation.execute("UPDATE bot_runs SET state = 'ended', ended_at = now()")
    await installation.execute("UPDATE bots SET seen_revision = revision")
    async with api.database.for_user(user_id) as session:
        session.add(AccountDeletion(user_id=user_id, requested_at=api.clock.now()))
    erasing = Erasing(api.database, api.clock, api.workflows, ())
    assert (await erasing.step(user_id)).summary == "deleted"


@pytest.mark.parametrize("end", [_remove, _replace, _delete_the_user])
async def test_no_request_leaves_with_them_after_the_answer(
    installation: Installation, end: Callable[[Installation], Awaitable[None]]
) -> None:
    """Not by a gateway that has them in its memory, nor by an account that was looked up before."""
    using: list[Callable[[], Awaitable[object]]] = []
    for process in installation.workers:
        old = await process.ref(installation.trader)
        gateway = await process.venues.account(old)
        using += [gateway.balances, gateway.open_orders, gateway.permissions]
        using.append(partial(_balances, process, old))
    tasks = [asyncio.create_task(ask_again_and_again(ask)) for ask in using]
    await asyncio.sleep(0.5)
    busy = [process.requests for process in installation.workers]

    await end(installation)

    after = [process.requests for process in installation.workers]
    await asyncio.sleep(1.5)
    assert [process.requests for process in installation.workers] == after
    assert all(busy)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()


async def _balances(process: Process, old: AccountRef) -> None:
    account = await process.venues.account(old)
    await account.balances()


async def test_a_request_that_waits_for_its_turn_does_not_leave(
    installation: Installation,
) -> None:
    """What keeps it, limits or connecting, comes before the question whether it may."""
    worker = installation.workers[0]
    gateway = await worker.gateway(installation.trader)
    await gateway.balances()
    client = gateway._client  # type: ignore[attr-defined]
    waiting, may_go = asyncio.Event(), asyncio.Event()

    async def throttle(_cost: float | None = None) -> None:
        waiting.set()
        await may_go.wait()

    client.enableRateLimit, client.throttle = True, throttle
    asking = asyncio.create_task(gateway.balances())
    await waiting.wait()

    assert await installation.remove() == "removed"
    before = worker.requests
    may_go.set()

    with pytest.raises(VenueRefusedKeys):
        await asking
    assert worker.requests == before


async def test_replaced_keys_are_no_refused_keys(installation: Installation) -> None:
    worker = installation.workers[0]
    gateway = await worker.gateway(installation.trader)
    await _replace(installation)

    with pytest.raises(VenueUnavailable):
        await gateway.balances()

    renewed = await worker.gateway(installation.trader)
    assert (await renewed.balances())["USD"].total == 10


async def test_keys_in_use_are_not_asked_for_again_and_again(installation: Installation) -> None:
    worker = installation.workers[0]
    asked = 0
    read = worker.venues._credentials.version

    async def count(*of: object) -> int | None:
        nonlocal asked
        asked += 1
        return await read(*of)  # type: ignore[arg-type]

    worker.venues._credentials.version = count  # type: ignore[method-assign,assignment]
    gateway = await worker.gateway(installation.trader)
    began = monotonic()
    while monotonic() - began < 0.8:
        await gateway.balances()
    within = asked
    await asyncio.sleep(LEASES_SECONDS - 0.7)
    await gateway.balances()

    assert (within, asked) == (0, 1), "the account's own look-up counts"


async def test_while_the_database_is_away_nothing_but_orders_leaves(
    installation: Installation,
) -> None:
    worker = installation.workers[0]
    gateway = await worker.gateway(installation.trader)
    await worker.database.close()
    worker.database._app = worker.database._engine("postgresql://x@127.0.0.1:1/x", 1, False)
    await asyncio.sleep(LEASES_SECONDS)
    before = worker.requests

    with pytest.raises(VenueUnavailable):
        await gateway.balances()

    assert worker.requests == before
