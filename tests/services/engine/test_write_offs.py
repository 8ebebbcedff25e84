"""Positions that cannot be sold are written off by their user, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from domain.markets import MarketStatus, Mode
from services.errors import PositionCanBeSold, PositionNotFound
from services.orders.resending import RESEND_AFTER
from services.trading.writing_off import FAILING_FOR
from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    return await alone.start_bot()


async def audited(engine: Engine, bot: RunningBot) -> list[str]:
    rows = await engine.rows(
        "SELECT meta ->> 'quantity' AS quantity FROM audit_log"
        " WHERE user_id = :user AND event_type = 'position_written_off'",
        user=bot.trader.user_id,
    )
    return [row["quantity"] for row in rows]


async def test_a_position_of_a_delisted_market_is_written_off_once(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    alone.venue.market.rules_by_symbol.pop("BTC-USD")

    for _ in range(2):
        result = await alone.trading.write_off_position(bot.trader.principal, position.id)
        assert result.status == "written_off"

    position = await alone.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "written_off")
    assert position.written_off_quantity == QUANTITY
    assert position.open_quantity == 0
    assert position.realized_pnl == 0
    assert await alone.triggers(position) == {}
    assert len(await audited(alone, bot)) == 1
    await assert_in_order(alone, bot)


async def test_a_position_of_a_halted_market_is_written_off(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    rules = alone.venue.market.rules_by_symbol
    rules["BTC-USD"] = replace(rules["BTC-USD"], status=MarketStatus.HALTED)

    await alone.trading.write_off_position(bot.trader.principal, position.id)

    assert (await alone.position(bot)).exit_reason == "written_off"


async def test_what_can_be_sold_is_not_written_off(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)

    with pytest.raises(PositionCanBeSold):
        await alone.trading.write_off_position(bot.trader.principal, position.id)
    alone.venue.market.down.add("rules")
    with pytest.raises(PositionCanBeSold):
        await alone.trading.write_off_position(bot.trader.principal, position.id)

    assert (await alone.position(bot)).state == "open"


async def test_an_exit_that_fails_for_long_may_be_given_up(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).answers.extend([Answer.REFUSE] * 3)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    alone.wall.advance(FAILING_FOR.total_seconds())
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)

    await alone.trading.write_off_position(bot.trader.principal, position.id)

    assert (await alone.position(bot)).state == "closed"
    assert (await alone.guard(bot)).orders == ()


async def test_what_failed_to_leave_and_is_to_leave_no_more_is_not_written_off(
    alone: Engine, bot: RunningBot
) -> None:
    """The exit of a target is refused once, and then the target is moved away."""
    position = await alone.open_position(bot)
    alone.account(bot).answers.append(Answer.RATE_LIMITED)
    await alone.fire(position, "target_1")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    await alone.guard(bot)
    await alone.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=None, take_profit=Decimal(200)
    )
    alone.wall.advance(FAILING_FOR.total_seconds())

    with pytest.raises(PositionCanBeSold):
        await alone.trading.write_off_position(bot.trader.principal, position.id)

    assert "stop" in await alone.triggers(position)


async def test_what_a_sent_exit_may_sell_yet_is_not_written_off(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    alone.account(bot).answers.append(Answer.REST)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    alone.venue.market.rules_by_symbol.pop("BTC-USD")

    with pytest.raises(PositionCanBeSold, match="on its way"):
        await alone.trading.write_off_position(bot.trader.principal, position.id)


async def test_what_an_exit_may_have_sold_is_not_written_off_while_it_waits_to_be_repeated(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.repeats_known_orders = True
    account.listing_delay = timedelta(hours=1)
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    alone.wall.advance(RESEND_AFTER.total_seconds())
    assert (await alone.settle(bot, task.order_id)).state == "intended"
    alone.venue.market.rules_by_symbol.pop("BTC-USD")

    with pytest.raises(PositionCanBeSold, match="on its way"):
        await alone.trading.write_off_position(bot.trader.principal, position.id)


async def test_a_position_left_behind_by_a_removed_connection_is_written_off(
    alone: Engine,
) -> None:
    bot = await alone.start_bot(mode=Mode.LIVE)
    position = await alone.open_position(bot)
    await alone.execute(
        "UPDATE connections SET status = 'removed', sealed = NULL WHERE user_id = :id",
        id=bot.trader.user_id,
    )
    await alone.execute(
        "UPDATE bot_runs SET state = 'ended', ended_at = now() WHERE id = :id", id=bot.run_id
    )

    await alone.trading.write_off_position(bot.trader.principal, position.id)

    assert (await alone.position(bot)).exit_reason == "written_off"


async def test_only_a_users_own_positions_are_written_off(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    other = await alone.start_bot()
    alone.venue.market.rules_by_symbol.pop("BTC-USD")

    with pytest.raises(PositionNotFound):
        await alone.trading.write_off_position(other.trader.principal, position.id)
    with pytest.raises(PositionNotFound):
        await alone.trading.write_off_position(bot.trader.principal, uuid4())
