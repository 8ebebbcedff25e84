"""Remainders below the venue's minimum: let go of once, and only where the market's rules agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import KEY, Answer

pytestmark = pytest.mark.integration

CENTS = Decimal("0.1")


async def crash_to(engine: Engine, price: Decimal) -> None:
    """The price falls, the watcher sees it and fires the stop."""
    engine.venue.market.last["BTC-USD"] = price
    await engine.watching.look(KEY)


async def closed_notice(engine: Engine, bot: RunningBot) -> Mapping[str, Any]:
    (notice,) = await engine.rows(
        "SELECT facts FROM notices WHERE user_id = :user AND kind = 'stop_hit'",
        user=bot.trader.user_id,
    )
    facts: Mapping[str, Any] = notice["facts"]
    return facts


async def test_a_remainder_that_cannot_be_sold_is_let_go_of_and_told_once(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.open_position(bot)
    await alone.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    alone.account(bot).answers.extend([Answer.FILL_PART, Answer.TOO_SMALL])
    await crash_to(alone, CENTS)

    view = await alone.carry_out(bot)

    assert view.finished, "the run is over, nothing is tried again"
    position = await alone.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "stop_loss")
    assert (position.exit_quantity, position.open_quantity) == (QUANTITY / 2, QUANTITY / 2)
    assert position.realized_pnl == (CENTS - 100) * QUANTITY / 2, "of what was sold"
    exits = [order for order in await alone.orders(bot) if order.leg == "stop"]
    assert sorted((order.state, order.refusal_code) for order in exits) == [
        ("cancelled", None),
        ("refused", "dust"),
    ]
    assert (await closed_notice(alone, bot))["dust"] == "1.5"
    assert (await alone.balances(bot))["BTC"] == QUANTITY / 2, "it stays in the account"
    await assert_in_order(alone, bot)


async def test_dust_that_nothing_was_sold_of_closes_when_it_is_found(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.open_position(bot)
    opened_at = alone.venue.market.now
    alone.wall.advance(600)
    alone.venue.market.now = alone.wall.now()
    alone.account(bot).answers.append(Answer.TOO_SMALL)
    await crash_to(alone, CENTS)

    await alone.carry_out(bot)

    position = await alone.position(bot)
    assert position.state == "closed"
    assert (position.exit_quantity, position.realized_pnl) == (Decimal(0), Decimal(0))
    assert position.closed_at is not None
    assert position.closed_at > opened_at
    facts = await closed_notice(alone, bot)
    assert (facts["dust"], "exit_price" in facts) == ("3", False)
    await assert_in_order(alone, bot)


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_position_worth_selling_is_kept_whatever_the_venue_says(
    alone: Engine, is_seen: bool
) -> None:
    """A venue that errs, or a price that nobody knows, must not make us forget a position."""
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    if is_seen:
        await crash_to(alone, Decimal(90))
    else:
        await alone.fire(position, "stop")
    alone.account(bot).answers.append(Answer.TOO_SMALL)
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)

    assert (await alone.position(bot)).state == "open"
    assert (await alone.order(task.order_id)).refusal_code == "notional_minimum"
    await alone.carry_out(bot)
    assert (await alone.position(bot)).open_quantity == 0
    await assert_in_order(alone, bot)


async def test_a_part_that_is_too_small_does_not_give_up_the_rest(alone: Engine) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    await alone.watching.look(KEY)
    _least(alone, "1.5")
    await alone.fire(position, "target_1")
    alone.account(bot).answers.append(Answer.TOO_SMALL)
    (task,) = (await alone.guard(bot)).orders
    assert (await alone.order(task.order_id)).quantity == Decimal("1.2")

    await alone.place(bot, task.order_id)

    assert (await alone.position(bot)).state == "open"
    assert (await alone.order(task.order_id)).refusal_code == "notional_minimum"


async def test_less_than_the_least_quantity_is_dust_at_any_price(alone: Engine) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    _least(alone, "5")
    await alone.fire(position, "stop")
    alone.account(bot).answers.append(Answer.TOO_SMALL)

    await alone.carry_out(bot)

    closed = await alone.position(bot)
    assert (closed.state, closed.exit_quantity) == ("closed", Decimal(0))


@pytest.mark.parametrize(("step", "sold"), [("2", "2"), ("5", "0")])
async def test_an_exit_is_sold_in_the_steps_that_the_venue_has_by_now(
    alone: Engine, step: str, sold: str
) -> None:
    """The venue made them larger after the entry: what fits no more is dust."""
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    _coarsen(alone, step)
    await alone.fire(position, "stop")

    await alone.carry_out(bot)

    closed = await alone.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "stop_loss")
    assert (closed.exit_quantity, closed.open_quantity) == (Decimal(sold), QUANTITY - Decimal(sold))
    exits = [order.refusal_code for order in await alone.orders(bot) if order.leg == "stop"]
    assert exits == (["quantity_precision", None] if Decimal(sold) else ["dust"])
    await assert_in_order(alone, bot)


async def test_targets_are_sold_in_the_steps_that_the_venue_has_by_now(alone: Engine) -> None:
    """Of 1.2, 0.9 and 0.9 only whole ones can be sold: the second target goes with the third."""
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    _coarsen(alone, "1")
    await alone.fire(position, "target_1")

    await alone.carry_out(bot)

    assert (await alone.position(bot)).open_quantity == Decimal(2)
    assert set(await alone.triggers(position)) == {"stop", "target_3"}
    await alone.fire(position, "target_3")
    await alone.carry_out(bot)
    assert (await alone.position(bot)).open_quantity == 0
    await assert_in_order(alone, bot)


async def test_steps_are_only_changed_where_the_venue_publishes_them(alone: Engine) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    _coarsen(alone, "2")
    alone.venue.market.down.add("rules")
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders

    assert (await alone.place(bot, task.order_id)).state == "refused"

    assert (await alone.position(bot)).rules == position.rules
    alone.venue.market.down.clear()
    await alone.carry_out(bot)
    assert (await alone.position(bot)).exit_quantity == Decimal(2)
    await assert_in_order(alone, bot)


def _coarsen(engine: Engine, step: str) -> None:
    rules = engine.venue.market.rules_by_symbol
    rules["BTC-USD"] = replace(rules["BTC-USD"], quantity_step=Decimal(step))


def _least(engine: Engine, quantity: str) -> None:
    """The venue takes no smaller orders any more."""
    rules = engine.venue.market.rules_by_symbol
    rules["BTC-USD"] = replace(rules["BTC-USD"], quantity_min=Decimal(quantity))


async def test_a_step_that_outgrew_a_position_is_believed_once_a_quantity_is_refused(
    engine: Engine, bot: RunningBot
) -> None:
    """The first refusal is for the kind of order, and says nothing about the published step."""
    position = await engine.open_position(bot)
    market = engine.venue.market
    market.rules_by_symbol["BTC-USD"] = replace(
        market.rules_by_symbol["BTC-USD"], quantity_step=Decimal(5), quantity_min=Decimal(5)
    )
    engine.account(bot).answers.append(Answer.WRONG_TYPE)
    await engine.fire(position, "stop")

    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert position.state == "closed"
    assert [order.refusal_code for order in await engine.orders(bot)][-1] == "dust"
