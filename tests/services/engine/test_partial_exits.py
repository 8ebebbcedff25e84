"""Partial exits that people and alerts ask for: sold once, the rest keeps its protection."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from sqlmodel import select

from domain.strategies.apex import ExitReason
from models.trading import ExitRequest, Position
from services.orders.exit_requests import request_exit
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def ask(
    engine: Engine,
    position: Position,
    quantity: str | None,
    *,
    cause: str = "command:1",
    reason: ExitReason = ExitReason.MANUAL,
) -> ExitRequest | None:
    async with engine.database.for_user(position.user_id) as session:
        row = (
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
        ).one()
        return await request_exit(
            session,
            row,
            cause=cause,
            reason=reason,
            wall=engine.wall.now(),
            quantity=None if quantity is None else Decimal(quantity),
        )


async def request_row(engine: Engine, request_id: UUID) -> ExitRequest:
    async with engine.database.as_system() as session:
        return (await session.exec(select(ExitRequest).where(ExitRequest.id == request_id))).one()


async def sold(engine: Engine, bot: RunningBot) -> list[tuple[str, Decimal]]:
    return [(order.leg, order.quantity) for order in await engine.orders(bot)][1:]


async def test_a_part_is_sold_and_the_rest_keeps_its_stop_and_fitted_targets(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    request = await ask(engine, position, "2.5")
    await engine.carry_out(bot)

    assert request is not None
    assert (await request_row(engine, request.id)).state == "done"
    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", Decimal("0.5"))
    triggers = await engine.triggers(position)
    assert triggers["stop"].price == Decimal(97)
    assert position.exit_plan is not None
    assert sum(Decimal(target["quantity"]) for target in position.exit_plan["targets"]) == Decimal(
        "0.5"
    )
    assert await sold(engine, bot) == [("reduce", Decimal("2.5"))]
    await assert_in_order(engine, bot)


async def test_asking_twice_with_one_cause_sells_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)

    first = await ask(engine, position, "1", cause="alert:7")
    await engine.carry_out(bot)
    second = await ask(engine, position, "1", cause="alert:7")
    await engine.carry_out(bot)

    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert (await engine.position(bot)).open_quantity == Decimal(2)


async def test_what_did_not_fill_is_asked_for_again_and_no_more_than_that(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    engine.account(bot).answers.extend([Answer.FILL_PART, Answer.REFUSE])

    await ask(engine, position, "2")
    await engine.carry_out(bot)

    assert (await engine.position(bot)).open_quantity == Decimal(1)
    assert [quantity for _, quantity in await sold(engine, bot)] == [2, 1, 1]
    await assert_in_order(engine, bot)


async def test_a_fired_stop_goes_before_a_partial_exit_and_a_partial_exit_before_a_target(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await ask(engine, position, "1")
    await engine.fire(position, "target_1")
    await engine.carry_out(bot)
    assert [leg for leg, _ in await sold(engine, bot)] == ["reduce", "target_1"]

    request = await ask(engine, position, "0.1", cause="command:2")
    await engine.fire(position, "stop")
    await engine.carry_out(bot)

    assert [leg for leg, _ in await sold(engine, bot)] == ["reduce", "target_1", "stop"]
    assert request is not None
    assert (await request_row(engine, request.id)).state == "done"
    await assert_in_order(engine, bot)


async def test_all_goes_before_a_part(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await ask(engine, position, "1")
    assert await ask(engine, position, None, cause="command:2") is None

    await engine.carry_out(bot)

    assert await sold(engine, bot) == [("exit", Decimal(3))]
    assert (await engine.position(bot)).exit_reason == "manual"


async def test_parts_that_come_to_all_close_the_position_with_the_last_ones_reason(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    request = await ask(engine, position, "2", cause="command:1")
    assert await ask(engine, position, "2", cause="alert:2", reason=ExitReason.SIGNAL_CLOSE) is None

    await engine.carry_out(bot)

    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "signal_close")
    assert await sold(engine, bot) == [("exit", Decimal(3))]
    assert request is not None
    assert (await request_row(engine, request.id)).state == "done"
    await assert_in_order(engine, bot)


async def test_a_part_of_what_is_leaving_asks_nothing(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await ask(engine, position, None)

    assert await ask(engine, position, "1", cause="command:2") is None

    assert (
        await engine.rows("SELECT 1 FROM exit_requests WHERE position_id = :id", id=position.id)
        == []
    )


async def test_no_rest_is_left_that_could_not_be_sold(engine: Engine, bot: RunningBot) -> None:
    market = engine.venue.market
    market.rules_by_symbol["BTC-USD"] = replace(
        market.rules_by_symbol["BTC-USD"], notional_min=Decimal(50)
    )
    position = await engine.open_position(bot)
    await engine.execute(
        'UPDATE positions SET rules = rules || \'{"notional_min": "50"}\' WHERE id = :id',
        id=position.id,
    )

    await ask(engine, position, "2.6")
    await engine.carry_out(bot)

    assert (await engine.position(bot)).state == "closed"
    assert await sold(engine, bot) == [("reduce", Decimal(3))]


async def test_a_part_below_the_minimum_is_denied_and_the_position_stays(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.TOO_SMALL)

    request = await ask(engine, position, "0.001")
    await engine.carry_out(bot)

    assert request is not None
    row = await request_row(engine, request.id)
    assert (row.state, row.refusal_code) == ("denied", "notional_minimum")
    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", Decimal(3))


async def test_less_than_a_step_is_denied_at_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)

    request = await ask(engine, position, "0.00001")

    assert request is not None
    assert (request.state, request.refusal_code) == ("denied", "quantity_minimum")


async def test_a_part_of_a_pending_position_leaves_once_it_has_filled(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    position = await engine.position(bot)

    request = await ask(engine, position, "1")
    await engine.place(bot, order_id)
    await engine.carry_out(bot)

    assert request is not None
    assert (await request_row(engine, request.id)).state == "done"
    assert (await engine.position(bot)).open_quantity == Decimal(2)


async def test_a_part_of_what_never_opened_is_denied(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)
    request = await ask(engine, await engine.position(bot), "1")
    engine.account(bot).answers.append(Answer.REFUSE)

    await engine.place(bot, order_id)

    assert request is not None
    assert (await request_row(engine, request.id)).state == "denied"
