"""Exits without an answer that cannot be looked up, at a venue that takes orders all the same."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from domain.money import ZERO
from domain.ports import VenueUnavailable
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer, FakeAccount

pytestmark = pytest.mark.integration


@pytest.fixture
def account(engine: Engine, bot: RunningBot) -> FakeAccount:
    account = engine.account(bot)
    account.repeats_known_orders = True
    return account


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


async def unanswered_exit(engine: Engine, bot: RunningBot, *answers: Answer) -> UUID:
    """A stop's exit that was sent; from now on the venue answers no question."""
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    account = engine.account(bot)
    account.answers.extend(answers)
    account.is_down = True
    await engine.place(bot, task.order_id)
    return task.order_id


async def go_on(engine: Engine, bot: RunningBot, seconds: int) -> None:
    """Send and look up what there is, once a second."""
    for _ in range(seconds):
        pass_time(engine, 1)
        for live in (await engine.guard(bot)).orders:
            with suppress(VenueUnavailable):
                if live.state == "intended":
                    await engine.place(bot, live.order_id)
                else:
                    await engine.settling.settle_or_delay(bot.trader.user_id, live.order_id)


def sales(account: FakeAccount) -> list[tuple[str, str]]:
    return [(it.client_order_id, it.type.value) for it in account.sends if it.side == "sell"]


async def test_an_exit_without_an_answer_is_sent_again_while_the_venue_lists_no_orders(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    lost = await unanswered_exit(engine, bot, Answer.TIME_OUT)

    await go_on(engine, bot, 10)

    order = await engine.order(lost)
    assert (order.state, order.sends) == ("open", 2), "accepted, and not shown yet"
    account.is_down = False
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert len(sales(account)) == 2
    await assert_in_order(engine, bot)


async def test_an_exit_that_arrived_is_repeated_and_sells_nothing_twice(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    account.deposit("BTC", "10")
    await unanswered_exit(engine, bot, *[Answer.FILL_BUT_TIME_OUT] * 3)

    await go_on(engine, bot, 60)

    assert len(set(sales(account))) == 1, "under one client order id"
    assert len(account.orders) == 2, "one entry, one exit"
    account.is_down = False
    await engine.carry_out(bot)
    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", ZERO)


async def test_repetitions_keep_their_delays_however_long_nothing_is_answered(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    await unanswered_exit(engine, bot, *[Answer.TIME_OUT] * 1000)

    await go_on(engine, bot, 300)

    assert 12 <= len(sales(account)) <= 17, "after 5, 10, then every 20 s"


async def test_an_exit_of_which_one_send_was_refused_and_one_got_no_answer_is_sent_again(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """Nothing else can tell whether the first send arrived; the refusal was of that moment."""
    lost = await unanswered_exit(engine, bot, Answer.TIME_OUT, Answer.WRONG_TYPE)

    await go_on(engine, bot, 10)
    assert (await engine.order(lost)).refusal_code == "unsupported_order_type"
    await go_on(engine, bot, 60)

    order = await engine.order(lost)
    assert (order.state, order.refusal_code, order.sends) == ("open", None, 3)
    account.is_down = False
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert len(set(sales(account))) == 1
    await assert_in_order(engine, bot)


async def test_an_exit_that_the_venue_accepted_is_not_sent_again_unseen(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    """It may rest there, partly filled: only its report tells."""
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    account.answers.append(Answer.REST)
    await engine.place(bot, task.order_id)
    account.fill_part((await engine.order(task.order_id)).client_order_id, Decimal(1))
    account.is_down = True

    await go_on(engine, bot, 120)

    assert len(sales(account)) == 1


async def test_nothing_is_sent_again_unseen_where_a_repetition_would_be_a_second_order(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    account.repeats_known_orders = False
    await unanswered_exit(engine, bot, Answer.TIME_OUT)

    await go_on(engine, bot, 120)

    assert len(sales(account)) == 1


async def test_an_entry_is_not_sent_again_unseen(
    engine: Engine, bot: RunningBot, account: FakeAccount
) -> None:
    account.answers.append(Answer.TIME_OUT)
    entry = await engine.intend_entry(bot)
    await engine.place(bot, entry)
    account.is_down = True

    await go_on(engine, bot, 120)

    assert len(account.sends) == 1


async def test_a_look_up_that_takes_its_time_keeps_no_exit_from_being_sent_again(
    engine: Engine, bot: RunningBot, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orders.settling.UNSEEN_SECONDS_MAX", 0.2)
    lost = await unanswered_exit(engine, bot, Answer.TIME_OUT)
    account.is_down, account.hangs_at_look_ups = False, True
    pass_time(engine, 5)

    result = await engine.settling.settle_or_delay(bot.trader.user_id, lost)

    assert result.state == "intended"


async def test_a_reconciliation_sends_nothing_again_unseen(engine: Engine, bot: RunningBot) -> None:
    """What it cannot ask it leaves: a venue that is away ends the turn."""
    engine.account(bot).repeats_known_orders = True
    lost = await unanswered_exit(engine, bot, Answer.TIME_OUT)
    pass_time(engine, 60)

    with pytest.raises(VenueUnavailable):
        await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)

    assert (await engine.order(lost)).state == "unknown"
