"""Exits that their venue does not give back: the rest of the position leaves beside them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from domain.ports import VenueUnavailable
from services.orders.live_exits import SET_ASIDE_AFTER
from services.orders.resending import RESEND_AFTER
from tests.services.engine.test_partial_exits import ask
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration

PART = Decimal("0.3")
REST = QUANTITY - PART


@pytest.fixture
async def bot(engine: Engine) -> RunningBot:
    return await engine.start_bot()


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


def sold(engine: Engine, bot: RunningBot) -> list[Decimal]:
    """What was sent to be sold, in order."""
    return [send.quantity for send in engine.account(bot).sends if send.side == "sell"]


async def send_stuck(engine: Engine, bot: RunningBot, answer: Answer = Answer.REST) -> UUID:
    """Send the exit that is due: it does not end, and its venue does not give it back."""
    account = engine.account(bot)
    account.answers.append(answer)
    account.cancel_answers.extend([Cancel.REFUSE] * 1000)
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    return task.order_id


async def stuck_part(
    engine: Engine, bot: RunningBot, answer: Answer = Answer.REST, quantity: Decimal = PART
) -> UUID:
    """A part that was just sent and does not end, of a position whose stop has fired since."""
    position = await engine.open_position(bot)
    await ask(engine, position, f"{quantity}")
    order_id = await send_stuck(engine, bot, answer)
    await engine.fire(await engine.position(bot), "stop")
    return order_id


async def go_on(engine: Engine, bot: RunningBot, seconds: float = 0) -> float | None:
    """Time passes; then everything that is live gets its next step. When there is more to do."""
    pass_time(engine, seconds)
    view = await engine.guard(bot)
    for live in view.orders:
        with suppress(VenueUnavailable):
            if live.state == "intended":
                await engine.place(bot, live.order_id)
            else:
                await engine.settle(bot, live.order_id)
    return view.recheck_seconds


async def end(engine: Engine, bot: RunningBot) -> None:
    """The venue takes orders back from now on; everything ends."""
    engine.account(bot).cancel_answers.clear()
    pass_time(engine, 600)
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_part_that_is_stuck_at_the_venue_keeps_no_stop_from_the_rest(
    engine: Engine, bot: RunningBot
) -> None:
    """The venue has its coins on hold, too."""
    part = await stuck_part(engine, bot)
    engine.account(bot).held["BTC"] = PART

    wait = await go_on(engine, bot)
    assert wait is not None
    await go_on(engine, bot, wait - 1)
    assert sold(engine, bot) == [PART], "it may be taken back yet"
    await go_on(engine, bot, 1)

    assert sold(engine, bot) == [PART, REST]
    assert wait == SET_ASIDE_AFTER.total_seconds()
    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", PART)
    assert (await engine.order(part)).set_aside_at == engine.wall.now()
    for _ in range(5):
        await go_on(engine, bot, 60)
    assert sold(engine, bot) == [PART, REST], "what the part may sell is not sold beside it"
    position = await engine.position(bot)
    assert (position.exit_state, position.exit_error) == (
        "failing",
        "The venue listed the order as open and was asked to cancel it",
    )

    engine.account(bot).held.clear()
    await end(engine, bot)
    assert sold(engine, bot) == [PART, REST, PART]
    assert (await engine.position(bot)).exit_reason == "stop_loss"


async def test_a_part_that_fills_after_the_rest_has_left_closes_the_position(
    engine: Engine, bot: RunningBot
) -> None:
    part = await stuck_part(engine, bot)
    await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds())
    assert sold(engine, bot) == [PART, REST]

    engine.account(bot).fill_resting((await engine.order(part)).client_order_id)
    await engine.settle(bot, part)

    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", Decimal(0))
    await end(engine, bot)
    assert sold(engine, bot) == [PART, REST]


@pytest.mark.parametrize("filled", [PART, PART / 2])
async def test_what_a_stuck_part_has_filled_and_nobody_has_booked_is_not_sold_again(
    engine: Engine, bot: RunningBot, filled: Decimal
) -> None:
    """The venue takes orders and shows none, so its fills are booked after the rest has left."""
    part = await stuck_part(engine, bot)
    account = engine.account(bot)
    client_order_id = (await engine.order(part)).client_order_id
    if filled == PART:
        account.fill_resting(client_order_id)
    else:
        account.fill_part(client_order_id, filled)
    account.is_down = True

    await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds())
    await go_on(engine, bot)
    assert sold(engine, bot) == [PART, REST]

    account.is_down = False
    await end(engine, bot)
    assert sum(sold(engine, bot)) <= QUANTITY + PART - filled
    assert sum(fill.quantity for fill in account.fills_made if fill.side == "sell") == QUANTITY
    assert (await engine.position(bot)).surplus_quantity == 0


@pytest.mark.parametrize("answer", [Answer.TIME_OUT, Answer.FILL_BUT_TIME_OUT])
@pytest.mark.parametrize("is_repeated", [True, False])
async def test_a_part_of_unknown_fate_keeps_no_stop_from_the_rest(
    engine: Engine, bot: RunningBot, answer: Answer, is_repeated: bool
) -> None:
    """Its venue takes orders, and shows none."""
    account = engine.account(bot)
    account.repeats_known_orders = is_repeated
    await stuck_part(engine, bot, answer)
    account.is_down = True

    for _ in range(4):
        await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds() / 2)
    assert sold(engine, bot) == [PART, REST]

    account.is_down = False
    await end(engine, bot)
    assert sum(fill.quantity for fill in account.fills_made if fill.side == "sell") == QUANTITY


async def test_a_part_that_waits_to_be_sent_again_keeps_its_share(
    engine: Engine, bot: RunningBot
) -> None:
    account = engine.account(bot)
    account.repeats_known_orders = True
    account.listing_delay = timedelta(hours=1)
    part = await stuck_part(engine, bot, Answer.FILL_BUT_TIME_OUT)
    pass_time(engine, RESEND_AFTER.total_seconds())
    assert (await engine.settle(bot, part)).state == "intended"
    pass_time(engine, SET_ASIDE_AFTER.total_seconds())

    view = await engine.guard(bot)
    (rest,) = (it for it in view.orders if it.order_id != part)
    await engine.place(bot, rest.order_id)
    assert (await engine.order(rest.order_id)).quantity == REST
    await engine.place(bot, part)

    assert (await engine.order(part)).state == "filled"
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_close_leaves_beside_a_stuck_target(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "target_1")
    order_id = await send_stuck(engine, bot)
    target = (await engine.order(order_id)).quantity
    await ask(engine, position, None, cause="command:all")

    await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds())

    assert sold(engine, bot) == [target, QUANTITY - target]
    await end(engine, bot)


async def test_no_part_leaves_beside_one_that_is_stuck(engine: Engine, bot: RunningBot) -> None:
    """Neither a part nor a target has the haste of a stop."""
    position = await engine.open_position(bot)
    await ask(engine, position, f"{PART}")
    await send_stuck(engine, bot)
    await ask(engine, position, "1", cause="command:2")
    await engine.fire(position, "target_1")

    for _ in range(10):
        assert await go_on(engine, bot, 60) is None

    assert sold(engine, bot) == [PART]


async def test_one_that_is_taken_back_in_time_leaves_with_the_rest(
    engine: Engine, bot: RunningBot
) -> None:
    part = await stuck_part(engine, bot)
    engine.account(bot).cancel_answers.clear()

    await go_on(engine, bot, 10)
    await go_on(engine, bot)

    assert sold(engine, bot) == [PART, QUANTITY]
    row = await engine.order(part)
    assert (row.state, row.set_aside_at) == ("cancelled", None)
    await end(engine, bot)


async def test_a_stuck_exit_of_all_there_is_keeps_it(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    await send_stuck(engine, bot)

    for _ in range(10):
        assert await go_on(engine, bot, 60) is None

    assert sold(engine, bot) == [QUANTITY]
    await end(engine, bot)


async def test_pieces_of_one_exit_leave_beside_one_that_is_stuck(
    engine: Engine, bot: RunningBot
) -> None:
    """A market takes one at a time; the first is kept open."""
    rules = '{"quantity_max": "1"}'
    position = await engine.open_position(bot)
    await engine.execute(
        "UPDATE positions SET rules = rules || CAST(:rules AS jsonb) WHERE id = :id",
        rules=rules,
        id=position.id,
    )
    await engine.fire(position, "stop")
    await send_stuck(engine, bot)

    await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds())
    assert sold(engine, bot) == [1, 1]
    await go_on(engine, bot)
    assert sold(engine, bot) == [1, 1, 1]
    await end(engine, bot)
    assert sold(engine, bot) == [1, 1, 1, 1]


async def test_a_rest_that_is_too_little_by_itself_leaves_with_the_part(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.execute(
        'UPDATE positions SET rules = rules || \'{"notional_min": "50"}\' WHERE id = :id',
        id=(await engine.open_position(bot, "ETH-USD")).id,
    )
    position = await engine.position(bot, "ETH-USD")
    await ask(engine, position, "2.4")
    (task,) = (await engine.guard(bot)).orders
    account = engine.account(bot)
    account.answers.append(Answer.REST)
    account.cancel_answers.extend([Cancel.REFUSE] * 1000)
    await engine.place(bot, task.order_id)
    await engine.execute(
        'UPDATE positions SET rules = rules || \'{"notional_min": "100"}\' WHERE id = :id',
        id=position.id,
    )
    await engine.fire(position, "stop")

    assert await go_on(engine, bot, SET_ASIDE_AFTER.total_seconds()) is None
    assert sold(engine, bot) == [Decimal("2.4")]

    account.cancel_answers.clear()
    pass_time(engine, 600)
    await engine.carry_out(bot)
    assert sold(engine, bot) == [Decimal("2.4"), QUANTITY]


async def test_a_rest_of_which_others_sold_a_part_meanwhile_is_not_sent(
    engine: Engine, bot: RunningBot
) -> None:
    """As by an exit that was taken for lost: what is left is less than the two sell."""
    await stuck_part(engine, bot)
    pass_time(engine, SET_ASIDE_AFTER.total_seconds())
    rest = next(it for it in (await engine.guard(bot)).orders if it.state == "intended")
    await engine.execute(
        "UPDATE positions SET open_quantity = open_quantity - 1 WHERE account_id = :id",
        id=bot.trader.account_id,
    )

    result = await engine.place(bot, rest.order_id)

    assert result.state == "denied"
    assert sold(engine, bot) == [PART]


async def test_many_who_make_exits_at_once_make_one_beside(engine: Engine, bot: RunningBot) -> None:
    part = await stuck_part(engine, bot)
    pass_time(engine, SET_ASIDE_AFTER.total_seconds())

    await asyncio.gather(
        *(engine.guard(bot) for _ in range(3)),
        *(engine.exit_service.make_due(bot.ref) for _ in range(3)),
    )

    made = [it.quantity for it in await engine.orders(bot) if it.leg == "stop"]
    assert made == [REST]
    assert {it.order_id for it in (await engine.guard(bot)).orders} > {part}


async def test_the_exits_worker_makes_it_as_soon_as_it_may(engine: Engine, bot: RunningBot) -> None:
    part = await stuck_part(engine, bot)

    due, live = await engine.exit_service.look(bot.ref)
    assert (due, [it.order_id for it in live]) == ([], [part])
    found = await engine.exit_service.make_due(bot.ref)
    assert found.recheck_seconds == SET_ASIDE_AFTER.total_seconds()

    pass_time(engine, SET_ASIDE_AFTER.total_seconds())
    (position,), _ = await engine.exit_service.look(bot.ref)
    made = (await engine.exit_service.leave(bot.ref, position)).order
    assert made is not None
    assert (await engine.order(made.order_id)).quantity == REST
    assert (await engine.exit_service.look(bot.ref))[0] == []
    assert (await engine.exit_service.make_due(bot.ref)).recheck_seconds is None


@pytest.mark.parametrize("step", range(0, 16, 2))
async def test_a_crash_while_the_rest_leaves_sells_nothing_twice(
    engine: Engine, bot: RunningBot, step: int
) -> None:
    await stuck_part(engine, bot)
    pass_time(engine, SET_ASIDE_AFTER.total_seconds())
    engine.crash.die_at(step)
    with suppress(Crashed):
        await go_on(engine, bot)
        await go_on(engine, bot)
    engine.crash.die_at(None)
    engine.wire()

    await go_on(engine, bot, 60)
    await end(engine, bot)

    fills = engine.account(bot).fills_made
    assert sum(fill.quantity for fill in fills if fill.side == "sell") == QUANTITY
