"""Orders that the venue accepted and then says it does not know."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from domain.ports import VenueUnavailable
from services.orders.settling import DOUBT_LENGTH
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration


async def test_an_exit_that_vanished_is_made_again_and_told_once(
    engine: Engine, bot: RunningBot
) -> None:
    vanished = await _vanishing_exit(engine, bot)
    assert (await engine.settle(bot, vanished)).state == "open"
    for _ in range(3):
        engine.wall.advance(DOUBT_LENGTH.total_seconds() / 4)
        assert (await engine.settle(bot, vanished)).state == "open"
        assert [task.order_id for task in (await engine.guard(bot)).orders] == [vanished]

    engine.wall.advance(DOUBT_LENGTH.total_seconds() / 4)
    result = await engine.settle(bot, vanished)

    assert (result.state, result.guard_due) == ("absent", True)
    row = await engine.order(vanished)
    assert row.refusal_reason == "The venue had accepted the order and does not know it any more"
    engine.account(bot).knows_nothing = False
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert [send.side for send in engine.account(bot).sends] == ["buy", "sell", "sell"]
    assert await _notices(engine, bot) == ["order_vanished"]


@pytest.mark.parametrize("repeats", [True, False])
async def test_the_notice_of_an_exit_that_vanished_knows_whether_it_is_sent_again(
    engine: Engine, bot: RunningBot, repeats: bool
) -> None:
    engine.account(bot).repeats_known_orders = repeats
    vanished = await _vanishing_exit(engine, bot)
    engine.wall.advance(GRACE.total_seconds())

    await engine.settle(bot, vanished)

    told = await engine.rows(
        "SELECT facts ->> 'is_sent_again' AS again FROM notices"
        " WHERE user_id = :user AND kind = 'order_vanished'",
        user=bot.trader.user_id,
    )
    assert [row["again"] for row in told] == [str(repeats).lower()]


async def test_an_exit_that_is_unlisted_after_a_long_outage_is_not_made_again_at_once(
    engine: Engine, bot: RunningBot
) -> None:
    """The venue comes up with an old list: it has the exit, and sells with it a moment later."""
    vanished = await _vanishing_exit(engine, bot)
    engine.account(bot).is_down = True
    for _ in range(2):
        engine.wall.advance(DOUBT_LENGTH.total_seconds())
        with pytest.raises(VenueUnavailable):
            await engine.settle(bot, vanished)
    engine.account(bot).is_down = False

    assert (await engine.settle(bot, vanished)).state == "open"

    assert [task.order_id for task in (await engine.guard(bot)).orders] == [vanished]
    engine.account(bot).knows_nothing = False
    engine.account(bot).fill_resting((await engine.order(vanished)).client_order_id)
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert [send.side for send in engine.account(bot).sends] == ["buy", "sell"]
    await assert_in_order(engine, bot)


async def test_an_order_that_was_seen_again_is_missed_anew(engine: Engine, bot: RunningBot) -> None:
    vanished = await _vanishing_exit(engine, bot)
    await engine.settle(bot, vanished)
    assert (await engine.order(vanished)).missed_at == engine.wall.now()
    engine.account(bot).knows_nothing = False
    engine.account(bot).cancel_answers.append(Cancel.LATER)
    engine.wall.advance(DOUBT_LENGTH.total_seconds())
    await engine.settle(bot, vanished)
    assert (await engine.order(vanished)).missed_at is None

    engine.account(bot).knows_nothing = True

    assert (await engine.settle(bot, vanished)).state == "open"
    engine.wall.advance(DOUBT_LENGTH.total_seconds())
    assert (await engine.settle(bot, vanished)).state == "absent"


async def test_nobody_is_alarmed_by_an_order_that_is_listed_a_moment_later(
    engine: Engine, bot: RunningBot
) -> None:
    vanished = await _vanishing_exit(engine, bot)
    engine.wall.advance(1)
    await engine.settle(bot, vanished)

    engine.account(bot).knows_nothing = False
    engine.account(bot).fill_resting((await engine.order(vanished)).client_order_id)
    await engine.settle(bot, vanished)

    assert (await engine.position(bot)).state == "closed"
    assert await _notices(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_fills_of_an_exit_that_vanished_end_it_at_once(
    engine: Engine, bot: RunningBot
) -> None:
    """The venue forgot the order and still lists what it executed."""
    vanished = await _vanishing_exit(engine, bot)
    account = engine.account(bot)
    account.fill_resting((await engine.order(vanished)).client_order_id)
    account.lists_fills_only = True
    account.knows_nothing = False

    await engine.settle(bot, vanished)

    assert (await engine.order(vanished)).state == "filled"
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_vanished_exit_that_comes_back_is_booked(engine: Engine, bot: RunningBot) -> None:
    """Its replacement sold the position: what it sold was the user's own, and the books say so."""
    engine.account(bot).deposit("BTC", "10")
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
    vanished = await _vanishing_exit(engine, bot)
    await engine.settle(bot, vanished)
    engine.wall.advance(DOUBT_LENGTH.total_seconds())
    await engine.settle(bot, vanished)
    engine.account(bot).knows_nothing = False
    engine.account(bot).fill_resting((await engine.order(vanished)).client_order_id)
    await engine.carry_out(bot)
    assert (await engine.position(bot)).surplus_quantity == 0
    engine.account(bot).lists_fills_only = True

    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)

    assert (await engine.order(vanished)).state == "filled"
    position = await engine.position(bot)
    assert (position.state, position.surplus_quantity) == ("closed", QUANTITY)
    await assert_in_order(engine, bot)


async def test_an_entry_that_vanished_and_comes_back_stands_beside_its_successor(
    engine: Engine, bot: RunningBot
) -> None:
    engine.account(bot).answers.append(Answer.REST)
    vanished = await engine.intend_entry(bot)
    await engine.place(bot, vanished)
    engine.account(bot).knows_nothing = True
    assert (await engine.settle(bot, vanished)).state == "open"
    engine.wall.advance(DOUBT_LENGTH.total_seconds())
    assert (await engine.settle(bot, vanished)).state == "absent"
    assert (await engine.position(bot)).state == "cancelled"
    engine.account(bot).knows_nothing = False
    await engine.open_position(bot)
    engine.account(bot).fill_resting((await engine.order(vanished)).client_order_id)

    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)

    rows = await engine.rows(
        "SELECT state, came_back, open_quantity FROM positions WHERE account_id = :account"
        " ORDER BY came_back",
        account=bot.trader.account_id,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("open", False, Decimal(QUANTITY)),
        ("open", True, Decimal(QUANTITY)),
    ]
    await assert_in_order(engine, bot)


async def _vanishing_exit(engine: Engine, bot: RunningBot) -> UUID:
    """A stop's exit that the venue accepted; from now on it knows nothing."""
    position = await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.REST)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    assert (await engine.place(bot, task.order_id)).state == "open"
    engine.account(bot).knows_nothing = True
    assert GRACE < DOUBT_LENGTH
    return task.order_id


async def _notices(engine: Engine, bot: RunningBot) -> list[str]:
    rows = await engine.rows(
        "SELECT kind FROM notices WHERE user_id = :user AND kind = 'order_vanished'",
        user=bot.trader.user_id,
    )
    return [row["kind"] for row in rows]
