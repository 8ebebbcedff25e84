"""What users are told of their trades: in the booking transaction, each event once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from domain.markets import Mode
from domain.orders import OrderState
from services.orders.booking import book
from tests.services.engine.test_partial_exits import ask
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def told(engine: Engine, bot: RunningBot) -> Sequence[Mapping[str, Any]]:
    return await engine.rows(
        "SELECT kind, facts, created_at FROM notices WHERE user_id = :user"
        " ORDER BY created_at, kind DESC",
        user=bot.trader.user_id,
    )


async def test_a_trade_is_told_when_it_opens_and_when_its_stop_closes_it(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    engine.wall.advance(60)
    engine.venue.market.last["BTC-USD"] = Decimal(97)
    await engine.fire(position, "stop")
    await engine.carry_out(bot)

    opened, closed = await told(engine, bot)

    assert (opened["kind"], closed["kind"]) == ("trade_opened", "stop_hit")
    assert opened["facts"] == {
        "position_id": position.id.hex,
        "symbol": "BTC-USD",
        "side": "long",
        "quantity": "3",
        "entry_price": "100",
        "stop_loss": "97",
        "take_profit": "103",
        "fees": "0.3",
    }
    assert closed["facts"]["reason"] == "stop_loss"
    assert (closed["facts"]["pnl"], closed["facts"]["net_pnl"]) == ("-9", "-9.591")


async def test_each_target_is_told_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    for leg, price in (("target_1", 103), ("target_2", 106), ("target_3", 109)):
        engine.wall.advance(60)
        engine.venue.market.last["BTC-USD"] = Decimal(price)
        await engine.fire(position, leg)
        await engine.carry_out(bot)

    notices = await told(engine, bot)

    assert [row["kind"] for row in notices] == ["trade_opened", *["target_hit"] * 3]
    assert [row["facts"].get("remaining") for row in notices] == [None, "1.8", "0.9", None]
    assert [row["facts"].get("pnl") for row in notices][:3] == [None, "3.6", "9"]
    assert notices[-1]["facts"]["net_pnl"] == "16.4829"


async def test_each_part_that_was_asked_for_is_told(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    for cause in ("command:1", "alert:2"):
        engine.wall.advance(60)
        engine.venue.market.last["BTC-USD"] = Decimal(103)
        await ask(engine, position, "1", cause=cause)
        await engine.carry_out(bot)

    _, *parts = await told(engine, bot)

    assert [row["kind"] for row in parts] == ["part_closed"] * 2
    assert [row["facts"]["sold"] for row in parts] == ["1", "1"]
    assert [row["facts"]["remaining"] for row in parts] == ["2", "1"]
    assert [row["facts"]["pnl"] for row in parts] == ["3", "6"]


async def test_booking_again_tells_nothing_again(engine: Engine, bot: RunningBot) -> None:
    await engine.open_position(bot)
    (order,) = await engine.orders(bot)

    for _ in range(2):
        async with engine.database.for_user(bot.trader.user_id) as session:
            await book(
                session,
                order.id,
                fills=(),
                state=OrderState.FILLED,
                at=engine.venue.market.now,
                wall=engine.wall.now(),
            )

    assert [row["kind"] for row in await told(engine, bot)] == ["trade_opened"]


async def test_an_emergency_stop_is_told(engine: Engine, bot: RunningBot) -> None:
    principal = bot.trader.principal
    await engine.trading.emergency_stop(principal, reason="storm", close_positions=False)

    (notice,) = await told(engine, bot)

    assert notice["kind"] == "emergency_stop"
    assert notice["facts"] == {"reason": "storm", "positions_are_closed": False}


async def test_a_stop_that_is_an_emergency_is_told_as_one(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=True)

    (notice,) = await told(engine, bot)
    assert notice["kind"] == "emergency_stop"
    assert notice["facts"]["positions_are_closed"] is False
    assert (await engine.bot(bot)).state == "emergency_stopped"


async def test_refused_keys_are_told_when_they_are_first_refused(engine: Engine) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    engine.account(bot).refuses_keys = True

    for _ in range(2):
        await engine.reconciling._try(bot.trader.user_id, bot.trader.account_id)

    (notice,) = await told(engine, bot)
    assert (notice["kind"], notice["facts"]) == ("keys_refused", {"venue": "coinbase"})


async def test_an_exit_that_fails_again_and_again_is_told_once_for_each_cause(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    await _refuse_exits(engine, bot, 4)
    assert [notice["kind"] for notice in await told(engine, bot)] == ["trade_opened"]

    await _refuse_exits(engine, bot, 4)

    (_, failing) = await told(engine, bot)
    assert failing["kind"] == "exit_failing"
    assert failing["facts"] == {
        "position_id": position.id.hex,
        "symbol": "BTC-USD",
        "venue": "coinbase",
        "mode": "paper",
        "attempts": 5,
        "remaining": "3",
        "reason": "The venue says no",
    }
    await engine.trading.close_position(bot.trader.principal, position.id)
    await _refuse_exits(engine, bot, 6)
    kinds = [notice["kind"] for notice in await told(engine, bot)]
    assert kinds.count("exit_failing") == 2


async def _refuse_exits(engine: Engine, bot: RunningBot, times: int) -> None:
    """Let the venue refuse the next attempts, with the pauses between them."""
    engine.account(bot).answers.extend([Answer.REFUSE] * times)
    for _ in range(times):
        (task,) = (await engine.guard(bot)).orders
        await engine.place(bot, task.order_id)
        engine.wall.advance((await engine.guard(bot)).recheck_seconds or 0)
