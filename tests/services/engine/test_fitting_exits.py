"""Exits in the form that the market takes: limited where they must be, split where too large."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.markets import MarketStatus
from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    return await alone.start_bot()


def publish(engine: Engine, **rules: Any) -> None:
    """Change what the venue publishes of the market, after the entry."""
    market = engine.venue.market
    market.rules_by_symbol["BTC-USD"] = replace(market.rules_by_symbol["BTC-USD"], **rules)


async def exits(engine: Engine, bot: RunningBot) -> list[tuple[str, Decimal, str]]:
    return [
        (order.type, order.quantity, order.state)
        for order in await engine.orders(bot)
        if order.leg != "entry"
    ]


async def step(engine: Engine, bot: RunningBot, times: int = 1) -> None:
    """Make the exit order that is due and send it, without a delay."""
    for _ in range(times):
        for task in (await engine.guard(bot)).orders:
            await engine.place(bot, task.order_id)


async def test_an_exit_of_a_limit_only_market_is_a_bounded_limit_order(
    alone: Engine, bot: RunningBot
) -> None:
    await alone.watching.look(alone.venue.market.key)
    position = await alone.open_position(bot)
    publish(alone, status=MarketStatus.LIMIT_ONLY)
    await alone.fire(position, "stop")

    await alone.carry_out(bot)

    (sale,) = [send for send in alone.account(bot).sends if send.side == "sell"]
    assert (sale.type, sale.time_in_force, sale.limit_price) == ("limit", "ioc", Decimal(99))
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_a_refused_kind_of_order_is_made_again_at_once_as_the_other(
    alone: Engine, bot: RunningBot
) -> None:
    """The list of markets that is known is old: the refusal says it first."""
    position = await alone.open_position(bot)
    alone.account(bot).limit_only = True
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    assert (await alone.place(bot, task.order_id)).state == "refused"

    (again,) = (await alone.guard(bot)).orders
    await alone.place(bot, again.order_id)

    assert await exits(alone, bot) == [
        ("market", QUANTITY, "refused"),
        ("limit", QUANTITY, "filled"),
    ]
    assert (await alone.position(bot)).exit_reason == "stop_loss"


async def test_a_limit_exit_that_does_not_fill_is_priced_again_further_away(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.limit_only = True
    account.answers.extend([Answer.FILL, Answer.FILL_NOTHING, Answer.FILL_NOTHING, Answer.FILL])
    await alone.fire(position, "stop")

    await alone.carry_out(bot)

    bounds = [send.limit_price for send in account.sends if send.type == "limit"][1:]
    assert bounds == sorted(bounds, reverse=True, key=lambda price: price or 0)
    assert len(set(bounds)) == len(bounds) == 3
    assert (await alone.position(bot)).state == "closed"


async def test_an_order_refused_for_a_reason_without_a_name_is_made_as_the_other_kind(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).answers.extend([Answer.REFUSE, Answer.REFUSE])
    await alone.fire(position, "stop")

    await alone.carry_out(bot)

    assert [kind for kind, _, _ in await exits(alone, bot)] == ["market", "limit", "market"]


async def test_an_exit_beyond_the_maximum_is_split_without_delays(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    publish(alone, quantity_max=Decimal("0.7"))
    await alone.fire(position, "stop")
    started = alone.wall.now()

    for _ in range(12):
        view = await alone.guard(bot)
        if not view.orders:
            break
        for task in view.orders:
            await alone.place(bot, task.order_id)

    assert alone.wall.now() == started
    assert [(size, state) for _, size, state in await exits(alone, bot)] == [
        (Decimal(3), "refused"),
        *[(Decimal("0.7"), "filled")] * 4,
        (Decimal("0.2"), "filled"),
    ]
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_a_maximum_that_is_not_published_is_found(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).quantity_max = Decimal(1)
    await alone.fire(position, "stop")

    await alone.carry_out(bot)

    sizes = [(size, state) for _, size, state in await exits(alone, bot)]
    assert sizes[:3] == [
        (Decimal(3), "refused"),
        (Decimal("1.5"), "refused"),
        (Decimal("0.75"), "filled"),
    ]
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_a_maximum_that_was_found_is_tried_beyond_after_a_while(
    alone: Engine, bot: RunningBot
) -> None:
    """What a refusal taught holds for ten minutes; then twice as much may go, at last all of it."""
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.quantity_max = Decimal("0.2")
    await alone.fire(position, "stop")
    await step(alone, bot, times=6)
    account.quantity_max = None

    await step(alone, bot)
    alone.wall.advance(600)
    await step(alone, bot)
    alone.wall.advance(3600)
    await step(alone, bot)

    sizes = [(size, state) for _, size, state in await exits(alone, bot)]
    assert sizes == [
        (Decimal(3), "refused"),
        (Decimal("1.5"), "refused"),
        (Decimal("0.75"), "refused"),
        (Decimal("0.375"), "refused"),
        (Decimal("0.1875"), "filled"),
        (Decimal("0.1875"), "filled"),
        (Decimal("0.1875"), "filled"),
        (Decimal("0.375"), "filled"),
        (Decimal("2.0625"), "filled"),
    ]
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_a_size_that_is_refused_again_is_halved_again(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).quantity_max = Decimal(1)
    await alone.fire(position, "stop")
    await step(alone, bot, times=3)
    alone.wall.advance(600)

    await step(alone, bot, times=3)

    sizes = [(size, state) for _, size, state in await exits(alone, bot)]
    assert sizes[2:] == [
        (Decimal("0.75"), "filled"),
        (Decimal("1.5"), "refused"),
        (Decimal("0.75"), "filled"),
        (Decimal("0.75"), "filled"),
    ]


async def test_a_small_order_makes_the_next_of_its_exit_no_smaller(
    alone: Engine, bot: RunningBot
) -> None:
    """What is free for a sale was little for a moment: that is no maximum of the market."""
    position = await alone.open_position(bot)
    alone.account(bot).quantity_max = Decimal(1)
    await alone.fire(position, "stop")
    await step(alone, bot, times=2)
    await alone.execute(
        "UPDATE positions SET sellable_quantity = 0.1 WHERE id = :id", id=position.id
    )
    await step(alone, bot)

    await step(alone, bot)

    sizes = [(size, state) for _, size, state in await exits(alone, bot)]
    assert sizes[2:] == [(Decimal("0.1"), "filled"), (Decimal("0.75"), "filled")]


async def test_a_maximum_that_the_venue_names_replaces_the_one_that_was_found(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).quantity_max = Decimal("0.9")
    await alone.fire(position, "stop")
    await step(alone, bot, times=3)
    publish(alone, quantity_max=Decimal("0.9"))
    alone.wall.advance(600)

    await step(alone, bot, times=4)

    sizes = [(size, state) for _, size, state in await exits(alone, bot)]
    assert sizes[2:] == [
        (Decimal("0.75"), "filled"),
        (Decimal("1.5"), "refused"),
        (Decimal("0.9"), "filled"),
        (Decimal("0.9"), "filled"),
        (Decimal("0.45"), "filled"),
    ]
    assert (await alone.position(bot)).state == "closed"


async def test_a_target_in_pieces_is_taken_when_all_of_it_is_sold(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    assert position.exit_plan is not None
    wanted = Decimal(position.exit_plan["targets"][0]["quantity"])
    await alone.execute(
        'UPDATE positions SET rules = rules || \'{"quantity_max": "0.5"}\' WHERE id = :id',
        id=position.id,
    )
    await alone.fire(position, "target_1")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    halfway = await alone.position(bot)
    assert halfway.stop_loss == position.stop_loss, "the stop moves once the target is taken"

    await alone.carry_out(bot)

    position = await alone.position(bot)
    assert position.open_quantity == QUANTITY - wanted
    assert position.exit_plan is not None
    assert [target["is_done"] for target in position.exit_plan["targets"]] == [True, False, False]
    await assert_in_order(alone, bot)


@pytest.mark.parametrize("status", [MarketStatus.LIMIT_ONLY, MarketStatus.OPEN])
async def test_a_limit_exit_keeps_to_a_price_step_that_has_grown(
    alone: Engine, bot: RunningBot, status: MarketStatus
) -> None:
    """By the step of the entry 95.40 would be right; it is refused for ever."""
    position = await alone.open_position(bot)
    publish(alone, price_step=Decimal("0.5"), status=status)
    alone.account(bot).limit_only = True
    alone.venue.market.last["BTC-USD"] = Decimal("96.37")
    await alone.watching.look(alone.venue.market.key)
    await alone.trading.close_position(bot.trader.principal, position.id)

    await alone.carry_out(bot)

    sale = [send for send in alone.account(bot).sends if send.side == "sell"][-1]
    assert sale.limit_price is not None
    assert sale.limit_price % Decimal("0.5") == 0
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)
