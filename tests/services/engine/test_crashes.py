"""A process dies between any two steps: nothing is doubled, lost or invented afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.orders import OrderState
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration

STEPS_MAX = 60
ANSWERS = list(Answer)
EXIT_ANSWERS = [answer for answer in Answer if answer is not Answer.REST]  # market orders


async def recover(engine: Engine, bot: RunningBot) -> None:
    """A new process takes over, and time passes until everything can be known."""
    engine.crash.die_at(None)
    account = engine.account(bot)
    account.answers.clear()
    account.is_down = False
    engine.wire()
    for client_order_id, order in account.orders.items():
        if order.report.state is OrderState.OPEN:
            account.fill_resting(client_order_id)
    passed = GRACE + account.listing_delay + account.fills_delay + timedelta(seconds=1)
    engine.venue.market.now += passed
    engine.wall.time += passed
    await engine.carry_out(bot)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_entry_survives_a_crash_at_every_step(engine: Engine, answer: Answer) -> None:
    for number in range(STEPS_MAX):
        bot = await engine.start_bot()
        order_id = await engine.intend_entry(bot)
        engine.account(bot).answers.append(answer)

        engine.crash.die_at(number)
        try:
            await engine.place(bot, order_id)
            ended = True
        except Crashed:
            ended = False
        await recover(engine, bot)

        await assert_in_order(engine, bot)
        if ended:
            return
    raise AssertionError("sending never ends")


@pytest.mark.parametrize("answer", EXIT_ANSWERS)
async def test_an_exit_survives_a_crash_at_every_step(engine: Engine, answer: Answer) -> None:
    for number in range(STEPS_MAX):
        bot = await engine.start_bot()
        position = await engine.open_position(bot)
        await engine.fire(position, "stop")
        engine.account(bot).answers.append(answer)

        engine.crash.die_at(number)
        try:
            await engine.carry_out(bot)
            ended = True
        except Crashed:
            ended = False
        await recover(engine, bot)

        await assert_in_order(engine, bot)
        closed = await engine.position(bot)
        assert closed.state == "closed"
        assert closed.exit_reason == "stop_loss"
        if ended:
            return
    raise AssertionError("leaving never ends")


@dataclass(frozen=True)
class Round:
    """Some things at once, perhaps a death in the middle of them, then some time."""

    at_once: tuple[str, ...]
    order: int
    dies_at: int | None
    seconds: int


ROUNDS = st.lists(
    st.builds(
        Round,
        at_once=st.lists(
            st.sampled_from(["place", "settle", "guard", "reconcile", "fire", "flatten"]),
            min_size=1,
            max_size=4,
        ).map(tuple),
        order=st.integers(0, 5),
        dies_at=st.none() | st.integers(0, 40),
        seconds=st.sampled_from([0, 1, 10, 31]),
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rounds=ROUNDS,
    answers=st.lists(st.sampled_from(ANSWERS), max_size=6),
    listing_delay=st.sampled_from([0, 5, 29]),
    fills_delay=st.sampled_from([0, 5, 60]),
)
async def test_any_interleaving_leaves_our_books_equal_to_the_venues(
    engine: Engine,
    rounds: list[Round],
    answers: list[Answer],
    listing_delay: int,
    fills_delay: int,
) -> None:
    engine.crash.die_at(None)
    bot = await engine.start_bot()
    account = engine.account(bot)
    account.listing_delay = timedelta(seconds=listing_delay)
    account.fills_delay = timedelta(seconds=fills_delay)
    account.answers.extend(answers)
    for symbol in ("BTC-USD", "ETH-USD"):
        await engine.intend_entry(bot, symbol)

    for one in rounds:
        await play(engine, bot, one)
    await recover(engine, bot)

    await assert_in_order(engine, bot)


async def play(engine: Engine, bot: RunningBot, one: Round) -> None:
    orders = await engine.orders(bot)
    order_id = orders[one.order % len(orders)].id
    engine.crash.die_at(one.dies_at)
    outcomes = await asyncio.gather(
        *(act(engine, bot, name, order_id) for name in one.at_once), return_exceptions=True
    )
    engine.crash.die_at(None)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Crashed):
            raise outcome
    engine.wire()
    engine.wall.advance(one.seconds)
    engine.venue.market.now += timedelta(seconds=one.seconds)


async def act(engine: Engine, bot: RunningBot, name: str, order_id: UUID) -> None:
    match name:
        case "place":
            await engine.place(bot, order_id)
        case "settle":
            await engine.settle(bot, order_id)
        case "guard":
            await engine.guard(bot)
        case "reconcile":
            await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
        case "fire":
            await engine.execute(
                "UPDATE triggers SET state = 'fired'"
                " WHERE bot_id = :bot AND state = 'armed' AND leg = 'target_1'",
                bot=bot.bot_id,
            )
        case "flatten":
            await engine.execute(
                "UPDATE positions SET close_requested = 'manual', close_cause = 'command:x'"
                " WHERE run_id = :run AND state = 'open' AND close_requested IS NULL",
                run=bot.run_id,
            )
