"""Exits that are not listed, at a venue that answers a known client order id with its order."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from domain.money import ZERO
from services.orders.comparing import CONFIRM_AFTER
from services.orders.resending import RESEND_AFTER
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def unlisted_exit(engine: Engine, bot: RunningBot, *answers: Answer) -> UUID:
    """A stop's exit, sent to a venue that answers as told."""
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.repeats_known_orders = True
    account.answers.extend(answers)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    return task.order_id


async def test_an_exit_that_never_arrived_is_sent_again_under_its_id(
    engine: Engine, bot: RunningBot
) -> None:
    lost = await unlisted_exit(engine, bot, Answer.TIME_OUT)
    assert (await engine.settle(bot, lost)).state == "unknown"

    engine.wall.advance(RESEND_AFTER.total_seconds())
    assert (await engine.settle(bot, lost)).state == "intended"
    await engine.carry_out(bot)

    account = engine.account(bot)
    assert (await engine.position(bot)).state == "closed"
    assert len({send.client_order_id for send in account.sends if send.side == "sell"}) == 1
    row = await engine.order(lost)
    assert (row.state, row.sends, row.refusal_code) == ("filled", 2, None)
    await assert_in_order(engine, bot)


async def test_a_listing_that_lags_sells_nothing_twice(engine: Engine, bot: RunningBot) -> None:
    """It is filled at once, and listed long after the grace that makes an order absent."""
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "10")
    account.repeats_known_orders = True
    account.listing_delay = GRACE * 20
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)

    engine.venue.market.now += GRACE * 2
    engine.wall.advance(GRACE.total_seconds() * 2)
    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert position.state == "closed"
    assert position.surplus_quantity == 0
    assert len(account.orders) == 2, "one entry, one exit"


async def unlisted_sale(engine: Engine, bot: RunningBot, *answers: Answer) -> list[str]:
    """Carry a stop out, look by look, while the venue lists its orders after ten minutes only.

    The account holds more than the position: a second order would be filled too. Returns the client
    order ids of the sales, as they were sent.
    """
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "10")
    account.repeats_known_orders = True
    account.listing_delay = GRACE * 20
    account.answers.extend(answers)
    await engine.fire(position, "stop")
    for _ in range(150):
        view = await engine.guard(bot)
        for task in view.orders:
            if task.state == "intended":
                await engine.place(bot, task.order_id)
            else:
                await engine.settle(bot, task.order_id)
        if not view.orders and view.recheck_seconds is None:
            break
        engine.wall.advance(2)
        engine.venue.market.now += timedelta(seconds=2)
    return [send.client_order_id for send in account.sends if send.side == "sell"]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Answer.FILL_BUT_TIME_OUT] * 4, id="none of four sends is answered"),
        pytest.param(
            [Answer.FILL_BUT_TIME_OUT, Answer.RATE_LIMITED, Answer.RATE_LIMITED],
            id="repetitions are turned away at the door",
        ),
    ],
)
async def test_an_unanswered_exit_is_repeated_until_it_is_answered(
    engine: Engine, bot: RunningBot, answers: list[Answer]
) -> None:
    sales = await unlisted_sale(engine, bot, *answers)

    assert len(sales) == len(answers) + 1
    assert len(set(sales)) == 1, "one exit, whatever its repetitions met with"
    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", ZERO)
    assert len(engine.account(bot).orders) == 2, "one entry, one exit"


async def test_a_fast_replay_takes_no_exit_for_absent_before_its_repetition(
    engine: Engine, bot: RunningBot
) -> None:
    """A grace of venue time passes within a moment of ours."""
    lost = await unlisted_exit(engine, bot, Answer.TIME_OUT)
    engine.venue.market.now += GRACE * 2

    engine.wall.advance(1)
    assert (await engine.settle(bot, lost)).state == "unknown"

    engine.wall.advance(RESEND_AFTER.total_seconds())
    assert (await engine.settle(bot, lost)).state == "intended"
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"


async def test_an_accepted_exit_that_the_venue_denies_knowing_waits_for_the_grace_alone(
    engine: Engine, bot: RunningBot
) -> None:
    lost = await unlisted_exit(engine, bot, Answer.REST)
    account = engine.account(bot)
    account.orders.pop((await engine.order(lost)).client_order_id)
    assert (await engine.settle(bot, lost)).state == "open"

    engine.wall.advance(GRACE.total_seconds())
    assert (await engine.settle(bot, lost)).state == "intended"
    await engine.carry_out(bot)

    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_refused_repetition_proves_nothing_about_the_first_send(
    engine: Engine, bot: RunningBot
) -> None:
    lost = await unlisted_exit(engine, bot, Answer.FILL_BUT_TIME_OUT, Answer.REFUSE)
    account = engine.account(bot)
    account.orders[(await engine.order(lost)).client_order_id].listed_from += timedelta(minutes=2)
    engine.wall.advance(RESEND_AFTER.total_seconds())
    await engine.settle(bot, lost)

    assert (await engine.place(bot, lost)).state == "unknown"
    assert (await engine.order(lost)).refusal_code == "refused"
    assert (await engine.settle(bot, lost)).state == "unknown"
    engine.venue.market.now += timedelta(minutes=2)
    await engine.carry_out(bot)

    assert [send.side for send in account.sends] == ["buy", "sell", "sell"]
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_an_answer_to_an_earlier_send_does_not_end_a_later_one(
    engine: Engine, bot: RunningBot
) -> None:
    """The first send hangs until it was given up and repeated; then it is refused after all."""
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.repeats_known_orders = True
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders

    async def meanwhile() -> None:
        engine.wall.advance(RESEND_AFTER.total_seconds())
        assert (await engine.settle(bot, task.order_id)).state == "intended"
        account.answers.append(Answer.REST)
        assert (await engine.place(bot, task.order_id)).state == "open"

    account.answers.append(Answer.REFUSE)
    account.meanwhile = meanwhile
    assert (await engine.place(bot, task.order_id)).state == "open"

    assert len(account.orders) == 2
    account.fill_resting((await engine.order(task.order_id)).client_order_id)
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_an_entry_is_never_sent_again(engine: Engine, bot: RunningBot) -> None:
    account = engine.account(bot)
    account.repeats_known_orders = True
    account.answers.append(Answer.TIME_OUT)
    entry = await engine.intend_entry(bot)
    await engine.place(bot, entry)

    engine.wall.advance(GRACE.total_seconds())
    engine.venue.market.now += GRACE

    assert (await engine.settle(bot, entry)).state == "absent"
    assert len(account.sends) == 1


async def test_an_exit_that_waits_to_be_sent_again_proves_no_shortfall(
    engine: Engine, bot: RunningBot
) -> None:
    """Its first send may have sold: what is missing then is no manual sale."""
    await engine.open_position(bot)
    position = await engine.position(bot)
    account = engine.account(bot)
    account.repeats_known_orders = True
    account.listing_delay = GRACE * 20
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    engine.wall.advance(RESEND_AFTER.total_seconds())
    assert (await engine.settle(bot, task.order_id)).state == "intended"

    for _ in range(2):
        await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
        engine.wall.advance(CONFIRM_AFTER.total_seconds())

    assert (await engine.position(bot)).closed_elsewhere_quantity == 0
    kinds = await engine.rows(
        "SELECT kind FROM flows WHERE account_id = :id AND kind <> 'opening'",
        id=bot.trader.account_id,
    )
    assert not kinds
    await engine.carry_out(bot)
    assert (await engine.position(bot)).exit_reason == "stop_loss"
    await assert_in_order(engine, bot)
