"""One request budget over all processes; an exit never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from adapters.venues.coinbase.client import public_client
from domain.ports import VenueUnavailable
from domain.requests import Purpose, purpose_of_requests, requests_for
from services.database import Database
from services.markets.request_budgets import RequestBudgets
from tests.support.engine import Engine

pytestmark = pytest.mark.integration
SCOPE, RATE = "coinbase:address", 20


@pytest.fixture
async def processes(alone: Engine) -> AsyncIterator[list[RequestBudgets]]:
    """Three processes on one database, as far as a budget can tell."""
    them = [RequestBudgets(alone.database) for _ in range(3)]
    yield them
    for one in them:
        await one.close()


async def granted(budgets: list[RequestBudgets], purpose: Purpose, seconds: float) -> int:
    """How many requests many askers in all processes get in some seconds."""
    count = 0
    ends = asyncio.get_running_loop().time() + seconds

    async def ask(budget: RequestBudgets) -> None:
        nonlocal count
        while asyncio.get_running_loop().time() < ends:
            try:
                async with asyncio.timeout_at(ends):
                    await budget.take(SCOPE, per_second=RATE)
            except (VenueUnavailable, TimeoutError):
                continue
            count += 1

    with requests_for(purpose):
        await asyncio.gather(*(ask(budget) for budget in budgets for _ in range(5)))
    return count


async def test_processes_share_one_budget(processes: list[RequestBudgets]) -> None:
    count = await granted(processes, Purpose.SCAN, 2)

    assert RATE // 2 <= count <= RATE * 2 + RATE


async def test_the_more_urgent_find_tokens_that_scans_must_leave(
    processes: list[RequestBudgets],
) -> None:
    await granted(processes, Purpose.SCAN, 0.3)

    with requests_for(Purpose.LOOK_UP):
        async with asyncio.timeout(0.45):
            await processes[0].take(SCOPE, per_second=RATE)


async def test_exits_wait_for_nothing_and_are_charged(
    alone: Engine, processes: list[RequestBudgets]
) -> None:
    await granted(processes, Purpose.SCAN, 0.3)

    with requests_for(Purpose.EXIT):
        async with asyncio.timeout(0.1):
            for _ in range(RATE):
                await processes[0].take(SCOPE, per_second=RATE)
    for _ in range(50):
        (row,) = await alone.rows("SELECT tokens FROM request_budgets")
        if row["tokens"] < Decimal(RATE) / 4:
            break
        await asyncio.sleep(0.02)
    scans = await granted(processes, Purpose.SCAN, 0.3)

    assert row["tokens"] < Decimal(RATE) / 4
    assert scans == 0, "they wait for what exits took"


async def test_only_scans_are_refused(alone: Engine, processes: list[RequestBudgets]) -> None:
    await alone.execute(
        "INSERT INTO request_budgets VALUES (:scope, -100000, clock_timestamp())", scope=SCOPE
    )

    for purpose in (Purpose.EXIT, Purpose.LOOK_UP, Purpose.ENTRY):
        with requests_for(purpose):
            async with asyncio.timeout(3):
                await processes[0].take(SCOPE, per_second=RATE)
    with pytest.raises(VenueUnavailable):
        await processes[0].take(SCOPE, per_second=RATE)


@pytest.mark.parametrize("purpose", list(Purpose))
async def test_while_the_database_is_away_everything_goes_on(purpose: Purpose) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:9/none"
    database = Database(nowhere, nowhere)
    budget = RequestBudgets(database)
    try:
        with requests_for(purpose):
            async with asyncio.timeout(1):
                for _ in range(100):
                    await budget.take(SCOPE, per_second=RATE)
    finally:
        await budget.close()
        await database.close()


async def test_a_client_takes_each_request_out_of_its_budget() -> None:
    class Noted:
        def __init__(self) -> None:
            self.taken: list[tuple[str, int, Purpose]] = []

        async def take(self, scope: str, *, per_second: int) -> None:
            self.taken.append((scope, per_second, purpose_of_requests()))

    budget = Noted()
    client = public_client(None, budget)
    try:
        with requests_for(Purpose.EXIT):
            await client.throttle(1)
    finally:
        await client.close()

    assert budget.taken == [("coinbase:address", 10, Purpose.EXIT)]
    assert client.enableRateLimit
