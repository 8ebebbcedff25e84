"""Positions that their users leave by themselves: all of one, or a part of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from models.trading import Position
from services.errors import InvalidRequest
from services.trading.commands import CloseResult
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def close(
    engine: Engine,
    bot: RunningBot,
    position: Position,
    *,
    percent: str | None = None,
    quantity: str | None = None,
) -> CloseResult:
    return await engine.trading.close_position(
        bot.trader.principal,
        position.id,
        percent=None if percent is None else Decimal(percent),
        quantity=None if quantity is None else Decimal(quantity),
    )


async def test_a_stop_that_closes_nothing_says_that_stops_stay_in_force(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    stopped = await engine.trading.stop(
        bot.trader.principal, close_positions=False, emergency=False
    )

    assert stopped.open_positions == 1
    assert stopped.action_required is not None
    assert stopped.action_required.startswith("Manual position closure recommended")
    assert "stops and targets stay in force" in stopped.action_required
    assert "stop" in await engine.triggers(position)


async def requests(engine: Engine, position: Position) -> list[tuple[str, Decimal]]:
    rows = await engine.rows(
        "SELECT state, quantity FROM exit_requests WHERE position_id = :id ORDER BY created_at, id",
        id=position.id,
    )
    return [(row["state"], row["quantity"]) for row in rows]


async def left(engine: Engine, bot: RunningBot) -> tuple[str, Decimal]:
    position = await engine.position(bot)
    return position.state, position.open_quantity


@pytest.mark.parametrize(
    ("part", "remaining"),
    [({"percent": "50"}, "1.5"), ({"quantity": "1"}, "2")],
    ids=["percent", "quantity"],
)
async def test_a_part_leaves_the_rest_with_its_stop(
    engine: Engine, bot: RunningBot, part: dict[str, str], remaining: str
) -> None:
    position = await engine.open_position(bot)

    result = await close(engine, bot, position, **part)
    await engine.carry_out(bot)

    assert (result.status, result.quantity) == ("reducing", Decimal(3) - Decimal(remaining))
    assert await left(engine, bot) == ("open", Decimal(remaining))
    assert "stop" in await engine.triggers(position)
    assert bot.bot_id in engine.workflows.woken
    rows = await engine.rows(
        "SELECT event_type, meta FROM audit_log"
        " WHERE user_id = :id AND event_type LIKE 'position%'",
        id=bot.trader.user_id,
    )
    assert [row["event_type"] for row in rows] == ["position_reduce_requested"]
    assert rows[0]["meta"]["quantity"] == str(result.quantity)


@pytest.mark.parametrize(
    "part",
    [{}, {"percent": "100"}, {"quantity": "3"}, {"quantity": "1000000"}],
    ids=["nothing said", "100 percent", "what is held", "more than is held"],
)
async def test_all_of_it_is_closed(engine: Engine, bot: RunningBot, part: dict[str, str]) -> None:
    position = await engine.open_position(bot)

    result = await close(engine, bot, position, **part)
    again = await close(engine, bot, position, **part)
    await engine.carry_out(bot)

    assert (result.status, result.quantity) == ("closing", Decimal(3))
    assert (again.status, again.quantity) == ("closing", Decimal(3))
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "manual")
    assert await requests(engine, position) == []


async def test_a_percentage_is_of_what_was_not_asked_to_leave_yet(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    results = [await close(engine, bot, position, percent="50") for _ in range(2)]
    await engine.carry_out(bot)

    assert [result.quantity for result in results] == [Decimal("1.5"), Decimal("0.75")]
    assert await left(engine, bot) == ("open", Decimal("0.75"))


async def test_what_is_too_little_to_be_sold_is_refused_and_nothing_leaves(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    for part in ({"percent": "0.0000001"}, {"quantity": "0.000000001"}):
        with pytest.raises(InvalidRequest) as refusal:
            await close(engine, bot, position, **part)
        (name,) = part
        assert "step" in str(refusal.value.details), name
        assert name in str(refusal.value.details)

    await engine.carry_out(bot)
    assert await left(engine, bot) == ("open", Decimal(3))
    assert await requests(engine, position) == []


async def test_a_part_of_what_is_closing_already_changes_nothing(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await close(engine, bot, position)

    result = await close(engine, bot, position, percent="10")

    assert (result.status, result.quantity) == ("closing", Decimal(3))
    assert await requests(engine, position) == []


async def test_a_part_that_the_venue_refuses_is_told_of(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.TOO_SMALL)

    await close(engine, bot, position, quantity="0.001")
    await engine.carry_out(bot)

    assert await left(engine, bot) == ("open", Decimal(3))
    (notice,) = await engine.rows(
        "SELECT facts FROM notices WHERE user_id = :id AND kind = 'exit_part_refused'",
        id=bot.trader.user_id,
    )
    assert notice["facts"]["symbol"] == "BTC-USD"
    assert notice["facts"]["quantity"] == "0.001"
    assert notice["facts"]["reason"]
