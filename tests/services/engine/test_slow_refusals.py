"""Venues that take longer to refuse an exit than it takes until the exit is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from domain.contracts.bots import OrderResult
from domain.money import ZERO
from services.orders.resending import RESEND_AFTER
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer, FakeAccount

pytestmark = pytest.mark.integration

SLOW_SECONDS = 6


@pytest.fixture
def account(engine: Engine, bot: RunningBot) -> FakeAccount:
    account = engine.account(bot)
    account.repeats_known_orders = True
    return account


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


async def due_exit(engine: Engine, bot: RunningBot) -> UUID:
    """The exit order of a stop that has fired."""
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    return task.order_id


async def place_with(
    engine: Engine,
    bot: RunningBot,
    order_id: UUID,
    answer: Answer,
    meanwhile: Callable[[], Awaitable[None]],
) -> str:
    """Send an order; something happens between its arrival and its answer."""
    account = engine.account(bot)
    account.answers.append(answer)
    account.meanwhile = meanwhile
    return (await engine.place(bot, order_id)).state


async def resend(engine: Engine, bot: RunningBot, order_id: UUID, answer: Answer) -> str:
    """Have an exit without an answer sent again, which is answered at once."""
    pass_time(engine, SLOW_SECONDS)
    assert (await engine.settle(bot, order_id)).state == "intended"
    engine.account(bot).answers.append(answer)
    return (await engine.place(bot, order_id)).state


async def step(engine: Engine, bot: RunningBot) -> None:
    """Send and look up what there is, once."""
    for live in (await engine.guard(bot)).orders:
        if live.state == "intended":
            await engine.place(bot, live.order_id)
        else:
            await engine.settle(bot, live.order_id)


async def test_an_exit_of_which_every_send_was_refused_is_replaced_at_once(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """Nothing of it can be at the venue, so the next one leaves in a form that the market takes."""
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        assert await resend(engine, bot, order_id, Answer.WRONG_TYPE) == "unknown"

    assert await place_with(engine, bot, order_id, Answer.WRONG_TYPE, meanwhile) == "refused"

    await step(engine, bot)

    assert [request.type for request in account.sends[1:]] == ["market", "market", "limit"]
    assert (await engine.position(bot)).state == "closed"
    order = await engine.order(order_id)
    assert (order.refusal_code, order.sends, order.refused_sends) == (
        "unsupported_order_type",
        2,
        2,
    )
    await assert_in_order(engine, bot)


async def test_a_venue_that_is_slow_to_refuse_the_kind_of_an_exit_gets_another_kind(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    await engine.fire(await engine.open_position(bot), "stop")
    account.limit_only = True

    seconds = await carry_out_slowly(engine, bot)

    kinds = [request.type.value for request in account.sends[1:]]
    assert "limit" in kinds, f"{len(kinds)} market orders within two minutes"
    assert (await engine.position(bot)).state == "closed"
    assert seconds < 30
    await assert_in_order(engine, bot)


async def test_a_maximum_is_found_at_a_venue_that_is_slow_to_refuse(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    await engine.fire(await engine.open_position(bot), "stop")
    account.quantity_max = Decimal(1)

    await carry_out_slowly(engine, bot)

    sizes = [send.quantity for send in account.sends if send.side == "sell"]
    assert sorted(set(sizes), reverse=True)[:3] == [Decimal(3), Decimal("1.5"), Decimal("0.75")]
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def carry_out_slowly(engine: Engine, bot: RunningBot) -> int:
    """Carry exits out for two minutes at most, each send answered late; how many seconds it took.

    An exit is looked up while its answer is awaited, and sent again where it is not listed.
    """

    async def place_slowly(order_id: UUID) -> None:
        async def meanwhile() -> None:
            pass_time(engine, SLOW_SECONDS)
            if (await engine.settle(bot, order_id)).state == "intended":
                await engine.place(bot, order_id)

        engine.account(bot).meanwhile = meanwhile
        await engine.place(bot, order_id)

    began = engine.wall.now()
    for _ in range(120):
        for live in (await engine.guard(bot)).orders:
            if live.state == "intended":
                await place_slowly(live.order_id)
            else:
                await engine.settle(bot, live.order_id)
        if (await engine.position(bot)).state == "closed":
            break
        pass_time(engine, 1)
    return int((engine.wall.now() - began).total_seconds())


async def test_a_refusal_that_comes_before_the_resend_has_left_withdraws_it(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        pass_time(engine, SLOW_SECONDS)
        assert (await engine.settle(bot, order_id)).state == "intended"

    assert await place_with(engine, bot, order_id, Answer.WRONG_TYPE, meanwhile) == "refused"
    assert (await engine.place(bot, order_id)).state == "refused"

    assert [request.type for request in account.sends[1:]] == ["market"]


async def test_a_late_refusal_of_a_send_ends_no_exit_whose_resend_was_taken(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        assert await resend(engine, bot, order_id, Answer.REST) == "open"

    assert await place_with(engine, bot, order_id, Answer.WRONG_TYPE, meanwhile) == "open"

    order = await engine.order(order_id)
    assert (order.state, order.refusal_code) == ("open", None)
    account.fill_resting(order.client_order_id)
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert len(account.orders) == 2, "one entry, one exit"
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("first", [Answer.TIME_OUT, Answer.FILL_BUT_TIME_OUT])
async def test_an_exit_with_an_unanswered_send_is_replaced_after_the_grace_only(
    engine: Engine, bot: RunningBot, account: FakeAccount, first: Answer
) -> None:
    """The resend is refused, the first send may have arrived: it may still be listed."""
    account.deposit("BTC", "10")
    account.listing_delay = timedelta(seconds=25)
    order_id = await due_exit(engine, bot)
    pass_time(engine, account.listing_delay.total_seconds())  # so that the entry is listed
    account.answers.append(first)
    assert (await engine.place(bot, order_id)).state == "unknown"
    assert await resend(engine, bot, order_id, Answer.WRONG_TYPE) == "unknown"

    for _ in range(35):
        pass_time(engine, 1)
        await step(engine, bot)

    sales = [(send.client_order_id, send.type.value) for send in account.sends[1:]]
    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", ZERO)
    if first is Answer.FILL_BUT_TIME_OUT:
        assert [kind for _, kind in sales] == ["market", "market"]
    else:
        assert [kind for _, kind in sales] == ["market", "market", "limit"], "it was learned"
        order = await engine.order(order_id)
        assert (order.state, order.refusal_code) == ("absent", "unsupported_order_type")


async def test_a_fast_replay_waits_for_the_answer_to_an_earlier_send(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """A grace of venue time passes within a moment; the first send is filled, and answered then."""
    account.deposit("BTC", "10")
    account.listing_delay = GRACE * 4
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        engine.wall.advance(RESEND_AFTER.total_seconds())
        assert (await engine.settle(bot, order_id)).state == "intended"
        account.answers.append(Answer.WRONG_TYPE)
        assert (await engine.place(bot, order_id)).state == "unknown"
        engine.wall.advance(0.5)
        engine.venue.market.now += GRACE * 2
        assert (await engine.settle(bot, order_id)).state == "unknown"

    assert await place_with(engine, bot, order_id, Answer.FILL, meanwhile) == "filled"
    assert (await engine.position(bot)).state == "closed"


async def test_a_resend_that_was_turned_away_leaves_what_the_first_refusal_said(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        assert await resend(engine, bot, order_id, Answer.RATE_LIMITED) == "unknown"

    assert await place_with(engine, bot, order_id, Answer.WRONG_TYPE, meanwhile) == "refused"
    assert len(account.sends) == 3
    assert (await engine.order(order_id)).refusal_code == "unsupported_order_type"


async def test_nothing_is_sent_again_once_a_send_of_it_was_refused(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """A third send would meet with the same refusal, and delay the end by its own answer."""
    order_id = await due_exit(engine, bot)
    arrived, answered = asyncio.Event(), asyncio.Event()
    second: asyncio.Task[OrderResult] | None = None

    async def hang() -> None:
        arrived.set()
        await answered.wait()

    async def meanwhile() -> None:
        nonlocal second
        pass_time(engine, SLOW_SECONDS)
        assert (await engine.settle(bot, order_id)).state == "intended"
        account.answers.append(Answer.WRONG_TYPE)
        account.meanwhile = hang
        second = asyncio.create_task(engine.place(bot, order_id))
        await arrived.wait()

    assert await place_with(engine, bot, order_id, Answer.WRONG_TYPE, meanwhile) == "sending"
    assert second is not None
    pass_time(engine, 2 * RESEND_AFTER.total_seconds())
    assert (await engine.settle(bot, order_id)).state == "sending"

    answered.set()
    assert (await second).state == "refused"
    assert [request.type for request in account.sends[1:]] == ["market", "market"]


async def test_a_slow_acceptance_is_recorded_while_the_venue_does_not_list_the_order(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """Its answer came later than an exit without one is sent again: it needs no resend."""
    order_id = await due_exit(engine, bot)

    async def meanwhile() -> None:
        pass_time(engine, SLOW_SECONDS)
        account.knows_nothing = True

    assert await place_with(engine, bot, order_id, Answer.FILL, meanwhile) == "open"

    assert (await engine.order(order_id)).venue_order_id is not None
    account.knows_nothing = False
    await engine.carry_out(bot)
    assert [send.side for send in account.sends] == ["buy", "sell"]
    assert (await engine.position(bot)).state == "closed"
