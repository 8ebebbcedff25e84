"""An exit that was refused for a week: what it costs does not grow with its attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import psycopg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from domain.markets import Realm
from domain.orders import Leg
from services.billing.usage import count_usage
from services.orders.exit_progress import tell_of_late_exits
from services.orders.latest_exits import latest_exit
from services.trading.exit_attempts import earlier_attempts
from services.trading.exit_dispatch import ExitDispatch
from services.trading.sends import wait_for_entry_sends
from services.trading.winding_down import live_exposure
from tests.support.attempts import add_refused_attempts
from tests.support.databases import fresh_database
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer
from tests.support.rows_read import rows_read

pytestmark = pytest.mark.integration

ATTEMPTS = 10_000
ROWS_MAX = 30
"""What one transaction may read of the orders, entries of indexes included."""
PLANNED_AFTER = 12
"""Uses of a statement after which the server has decided how to carry it out from then on."""


@pytest.fixture
def urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    return fresh_database(postgres.local_urls)


@pytest.fixture
async def alone(urls: DatabaseUrls) -> AsyncIterator[Engine]:
    it = Engine(urls)
    yield it
    await it.close()


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    return await alone.start_bot()


async def due_exit(engine: Engine, bot: RunningBot, urls: DatabaseUrls, code: str) -> UUID:
    """The next exit of a stop that was refused again and again, which is intended."""
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    await add_refused_attempts(engine, task.order_id, ATTEMPTS, code)
    with psycopg.connect(urls.owner) as connection:
        connection.execute("ANALYZE orders")  # as the server does by itself, a little later
    return task.order_id


@pytest.fixture
async def exit_id(alone: Engine, bot: RunningBot, urls: DatabaseUrls) -> UUID:
    return await due_exit(alone, bot, urls, "keys_refused")


async def most_read(
    engine: Engine, work: Callable[[], Awaitable[object]], times: int = PLANNED_AFTER
) -> int:
    """The most that one transaction of some work reads of the orders, done again and again."""
    with rows_read(engine.database, "orders") as read:
        for _ in range(times):
            await work()
    assert read.of_transactions
    return read.most


async def test_an_exit_that_was_refused_for_a_week_blocks_no_other_users_exits(
    alone: Engine, bot: RunningBot, exit_id: UUID
) -> None:
    """It is booked in the exits worker, whose one thread also watches everybody's prices."""
    alone.venue.refuses_keys = True
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, loop.time() - last), loop.time()

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.1)
    longest = 0.0
    result = await alone.place(bot, exit_id)
    ticking.cancel()

    assert result.state == "refused"
    assert longest < 0.25, f"the loop stood still for {longest:.2f} s"


async def test_sending_and_booking_an_exit_reads_none_of_its_earlier_tries(
    alone: Engine, bot: RunningBot, exit_id: UUID
) -> None:
    """A refusal, and the fills of the next one, after which its position is folded anew."""
    alone.account(bot).answers.append(Answer.REFUSE)
    refused = await most_read(alone, lambda: alone.place(bot, exit_id), times=1)
    alone.wall.advance(600)
    (task,) = (await alone.guard(bot)).orders

    filled = await most_read(alone, lambda: alone.place(bot, task.order_id), times=1)

    assert (await alone.position(bot)).state == "closed"
    assert max(refused, filled) <= ROWS_MAX, (refused, filled)


async def test_a_refusal_folds_no_fills_anew(alone: Engine, bot: RunningBot, exit_id: UUID) -> None:
    """A position may have many of them: sold in pieces until the rest was refused."""
    alone.account(bot).answers.append(Answer.REFUSE)

    with rows_read(alone.database, "fills") as read:
        assert (await alone.place(bot, exit_id)).state == "refused"

    assert read.most == 0


async def test_finding_what_is_due_reads_none_of_its_earlier_tries(
    alone: Engine, bot: RunningBot, exit_id: UUID
) -> None:
    """By poll, guard and exits workflow: while the exit is under way, and while it pauses."""
    dispatch = ExitDispatch(alone.database, alone.workflows, alone.venue, realm=Realm.SIMULATED)
    reads: dict[str, int] = {}

    async def look(when: str) -> None:
        reads[f"poll {when}"] = await most_read(alone, dispatch.poll)
        reads[f"guard {when}"] = await most_read(alone, lambda: alone.guard(bot))
        due = await most_read(alone, lambda: alone.exit_service.make_due(bot.ref))
        reads[f"exits {when}"] = due

    await look("under way")
    alone.account(bot).answers.append(Answer.REFUSE)
    await alone.place(bot, exit_id)
    await look("pausing")
    assert max(reads.values()) <= ROWS_MAX, reads


async def test_watching_over_an_exit_reads_none_of_its_earlier_tries(
    alone: Engine, bot: RunningBot, exit_id: UUID
) -> None:
    """Look-ups, reconciliation, alarms, commands that wait, alerts, limits of the plan."""
    user_id, now = bot.trader.user_id, alone.wall.now()
    alone.account(bot).answers.append(Answer.TIME_OUT)
    await alone.place(bot, exit_id)
    position_id = (await alone.position(bot)).id

    async def counted() -> None:
        async with alone.database.for_user(user_id) as session:
            await count_usage(session, user_id, since=now, until=now)

    async def exposed() -> None:
        async with alone.database.for_user(user_id) as session:
            await live_exposure(session, user_id, now)

    async def why() -> None:
        async with alone.database.for_user(user_id) as session:
            await latest_exit(session, position_id, has_ended=True)

    works: dict[str, Callable[[], Awaitable[object]]] = {
        "look-up": lambda: alone.settle(bot, exit_id),
        "accounts due": lambda: alone.reconciling.reconcile_due(everybody=True),
        "late exits": lambda: tell_of_late_exits(alone.database, alone.wall),
        "sends": lambda: wait_for_entry_sends(alone.database, alone.wall, user_id, 0),
        "usage": counted,
        "exposure": exposed,
        "alert": why,
    }
    reads = {name: await most_read(alone, work) for name, work in works.items()}
    assert max(reads.values()) <= ROWS_MAX, reads


async def test_what_an_exit_learned_is_found_without_reading_all_that_taught_it(
    alone: Engine, bot: RunningBot, urls: DatabaseUrls
) -> None:
    """The market refuses every kind of order."""
    await due_exit(alone, bot, urls, "unsupported_order_type")
    position = await alone.position(bot)
    (order,) = [it for it in await alone.orders(bot) if it.state == "intended"]
    learned = []

    async def look() -> None:
        async with alone.database.for_user(bot.trader.user_id) as session:
            learned.append(
                await earlier_attempts(session, position, order.cause, Leg.STOP, alone.wall.now())
            )

    assert await most_read(alone, look) <= ROWS_MAX
    assert (learned[0].is_wrong_type, learned[0].in_vain) == (True, ATTEMPTS + 1)
