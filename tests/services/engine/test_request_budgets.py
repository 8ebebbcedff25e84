"""One request budget over all processes; an exit never waits for it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from adapters.venues.coinbase.client import public_client
from domain.markets import Mode
from domain.ports import VenueUnavailable
from domain.requests import Purpose, purpose_of_requests, requests_for
from services.database import Database
from services.markets.request_budgets import RequestBudgets
from services.orders.cancelling import STUCK_AFTER
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer

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


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (Answer.FILL, [("order", Purpose.LOOK_UP), ("fills", Purpose.LOOK_UP)]),
        (Answer.TOO_SMALL, [("fresh_rules", Purpose.LOOK_UP)]),
    ],
)
async def test_what_became_of_an_exit_is_asked_for_as_a_look_up(
    alone: Engine, answer: Answer, asked: list[tuple[str, Purpose]]
) -> None:
    bot, order_id = await intended_exit(alone)
    alone.account(bot).answers.append(answer)
    questions = noted_questions(alone, bot)

    await alone.place(bot, order_id)

    assert questions == [("place", Purpose.EXIT), *asked]


async def test_what_is_free_for_an_exit_is_asked_for_as_a_look_up(alone: Engine) -> None:
    bot, order_id = await intended_exit(alone)
    alone.account(bot).held["BTC"] = Decimal(1)
    questions = noted_questions(alone, bot)

    await alone.place(bot, order_id)

    assert questions == [("place", Purpose.EXIT), ("balances", Purpose.LOOK_UP)]


async def test_an_exit_is_cancelled_as_one(alone: Engine) -> None:
    bot, order_id = await intended_exit(alone)
    alone.account(bot).answers.append(Answer.REST)
    await alone.place(bot, order_id)
    alone.wall.advance(STUCK_AFTER.total_seconds())
    questions = noted_questions(alone, bot)

    await alone.settle(bot, order_id)

    assert ("cancel", Purpose.EXIT) in questions
    assert {purpose for name, purpose in questions if name != "cancel"} == {Purpose.LOOK_UP}


async def test_an_exit_is_booked_at_once_though_its_key_has_no_requests_left(
    alone: Engine, processes: list[RequestBudgets]
) -> None:
    """As after a burst of exits of one account."""
    bot, order_id = await intended_exit(alone)
    questions = noted_questions(
        alone, bot, before=lambda: processes[0].take(SCOPE, per_second=RATE)
    )
    await alone.execute(
        "INSERT INTO request_budgets VALUES (:scope, -100000, clock_timestamp())", scope=SCOPE
    )

    await alone.place(bot, order_id)

    assert (await alone.position(bot)).state == "closed"
    assert len(questions) == 3


async def intended_exit(engine: Engine) -> tuple[RunningBot, UUID]:
    """A live bot's exit that was made and not sent."""
    bot = await engine.start_bot(mode=Mode.LIVE)
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    return bot, task.order_id


def noted_questions(
    engine: Engine, bot: RunningBot, before: Callable[[], Awaitable[None]] | None = None
) -> list[tuple[str, Purpose]]:
    """What is asked of a bot's account and of its market from now on, and what for."""
    questions: list[tuple[str, Purpose]] = []

    async def ask(name: str, question: Callable[..., Any], *args: Any, **named: Any) -> Any:
        questions.append((name, purpose_of_requests()))
        if before is not None:
            await before()
        return await question(*args, **named)

    account = engine.account(bot)
    for place, name in [
        *((account, name) for name in ("place", "order", "fills", "balances", "cancel")),
        (engine.venue.market, "fresh_rules"),
    ]:
        setattr(place, name, functools.partial(ask, name, getattr(place, name)))
    return questions
