"""The venue holds less than the books: sold or moved by hand, or held by a hand-placed order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from domain.money import ZERO
from models.trading import Position
from services.database import LOCK_TIMEOUT_MS
from services.orders.comparing import CONFIRM_AFTER, LAG_MAX
from services.trading.figures import account_standing, lock_account
from tests.support.books import assert_in_order
from tests.support.engine import PRICE, QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration


async def reconcile(engine: Engine, bot: RunningBot) -> None:
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)


async def confirm(engine: Engine, bot: RunningBot) -> None:
    """Reconcile twice, far enough apart."""
    await reconcile(engine, bot)
    engine.wall.advance(CONFIRM_AFTER.total_seconds())
    await reconcile(engine, bot)


async def flows(engine: Engine, bot: RunningBot) -> list[tuple[str, Decimal, str]]:
    rows = await engine.rows(
        "SELECT currency, amount, kind FROM flows WHERE account_id = :id AND kind <> 'opening'"
        " ORDER BY currency",
        id=bot.trader.account_id,
    )
    return [(row["currency"], row["amount"], row["kind"]) for row in rows]


async def notices(engine: Engine, bot: RunningBot) -> list[str]:
    rows = await engine.rows(
        "SELECT facts ->> 'quantity' AS quantity FROM notices"
        " WHERE user_id = :user AND kind = 'closed_elsewhere'",
        user=bot.trader.user_id,
    )
    return [row["quantity"] for row in rows]


async def see_prices(engine: Engine) -> None:
    """Let the price watch look once, so that last prices are stored."""
    await engine.watching.look(engine.venue.market.key)


async def test_a_part_that_was_sold_by_hand_is_closed_elsewhere_and_the_rest_is_sold(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    engine.account(bot).deposit("BTC", "-1")

    await confirm(engine, bot)
    await confirm(engine, bot)

    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", QUANTITY - 1)
    assert position.closed_elsewhere_quantity == 1
    assert await notices(engine, bot) == ["1"]
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "stop_loss")
    assert engine.account(bot).sends[-1].quantity == QUANTITY - 1
    assert position.realized_pnl == 0, "bought and sold at 100; what is gone is no loss"
    await assert_in_order(engine, bot)


async def test_a_position_that_is_gone_closes_without_an_order(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    engine.account(bot).deposit("BTC", "-3")

    await confirm(engine, bot)

    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "closed_elsewhere")
    assert position.open_quantity == 0
    assert position.realized_pnl == 0
    assert await engine.triggers(position) == {}
    assert len(engine.account(bot).sends) == 1
    await engine.trading.stop(bot.trader.principal, emergency=False, close_positions=True)
    assert (await engine.carry_out(bot)).finished


async def test_a_shortfall_is_believed_at_the_second_look_only(
    engine: Engine, bot: RunningBot
) -> None:
    """A venue's balances may lag the fill that made them."""
    await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-3")
    await reconcile(engine, bot)
    account.deposit("BTC", "3")
    engine.wall.advance(CONFIRM_AFTER.total_seconds())
    await reconcile(engine, bot)
    account.deposit("BTC", "-3")
    await reconcile(engine, bot)

    assert (await engine.position(bot)).open_quantity == QUANTITY
    assert await flows(engine, bot) == []


async def test_a_shortfall_seen_before_a_fill_confirms_none_after_it(
    engine: Engine, bot: RunningBot
) -> None:
    """Two balances that lag a fill each are no shortfall that lasted from one to the other."""
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-3")
    await reconcile(engine, bot)
    account.deposit("BTC", "3")
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    engine.wall.advance(CONFIRM_AFTER.total_seconds())
    engine.venue.market.now += timedelta(minutes=5)
    again = await engine.open_position(bot)
    account.deposit("BTC", "-3")
    await reconcile(engine, bot)
    account.deposit("BTC", "3")
    await reconcile(engine, bot)

    held = await engine.position(bot)
    assert (held.id, held.state, held.open_quantity) == (again.id, "open", QUANTITY)
    assert await flows(engine, bot) == []


async def test_balances_that_lag_a_sale_of_ours_are_no_money_from_outside(
    engine: Engine, bot: RunningBot
) -> None:
    """Neither that the coins are still there, nor that their proceeds are not."""
    await see_prices(engine)
    position = await engine.open_position(bot)
    engine.wall.advance(60)
    account = engine.account(bot)
    await engine.fire(position, "stop")
    for task in (await engine.guard(bot)).orders:
        await engine.place(bot, task.order_id)
    account.deposit("USD", "-299.7")
    engine.wall.advance(1)
    await reconcile(engine, bot)
    account.deposit("USD", "299.7")
    engine.wall.advance(60)
    await reconcile(engine, bot)

    assert await flows(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_what_the_user_holds_besides_covers_the_position(
    engine: Engine, bot: RunningBot
) -> None:
    account = engine.account(bot)
    account.deposit("BTC", "10")
    await reconcile(engine, bot)
    await engine.open_position(bot)
    account.deposit("BTC", "-10")

    await confirm(engine, bot)

    assert (await engine.position(bot)).closed_elsewhere_quantity == 0


async def test_the_newest_position_of_a_currency_gives_first(
    engine: Engine, bot: RunningBot
) -> None:
    older = await engine.open_position(bot)
    engine.venue.market.now += timedelta(minutes=1)
    await engine.execute("UPDATE positions SET came_back = true WHERE id = :id", id=older.id)
    await engine.open_position(bot)
    engine.account(bot).deposit("BTC", "-4")

    await confirm(engine, bot)

    rows = await engine.rows(
        "SELECT state, open_quantity FROM positions WHERE account_id = :id ORDER BY opened_at",
        id=bot.trader.account_id,
    )
    assert [(row["state"], row["open_quantity"]) for row in rows] == [
        ("open", Decimal(2)),
        ("closed", Decimal(0)),
    ]


async def test_the_proceeds_of_a_sale_by_hand_are_no_deposit(
    engine: Engine, bot: RunningBot
) -> None:
    await see_prices(engine)
    await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-3")
    account.deposit("USD", str(3 * PRICE - 2))

    await confirm(engine, bot)

    assert await flows(engine, bot) == [
        ("BTC", Decimal(-3), "external_trade"),
        ("USD", 3 * PRICE - 2, "external_trade"),
    ]


async def test_money_that_no_trade_explains_is_a_deposit(engine: Engine, bot: RunningBot) -> None:
    await see_prices(engine)
    await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-3")
    account.deposit("USD", "5000")

    await confirm(engine, bot)

    assert [kind for _, _, kind in await flows(engine, bot)] == ["external", "external"]


async def test_differences_within_a_currencys_precision_are_no_flows(
    engine: Engine, bot: RunningBot
) -> None:
    account = engine.account(bot)
    account.deposit("USD", "0.004")
    account.deposit("BTC", "0.00005")

    await reconcile(engine, bot)

    assert await flows(engine, bot) == []
    assert (await engine.balances(bot))["USD"] == Decimal("10000.004")


async def test_an_exit_is_cut_to_what_the_users_own_order_leaves_free(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.held["BTC"] = Decimal("1.5")
    await engine.fire(position, "stop")

    await carry_on(engine, bot, rounds=6)

    position = await engine.position(bot)
    assert (position.state, position.open_quantity) == ("open", Decimal("1.5"))
    assert position.closed_elsewhere_quantity == 0, "it is held, not gone"
    assert position.exit_state == "failing"
    assert position.exit_error is not None
    assert position.exit_error == "The account holds too little; 0 BTC of 1.5 is free"
    account.held.clear()
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_stop_of_what_was_sold_by_hand_ends_flat(engine: Engine, bot: RunningBot) -> None:
    """The exit fails first, reconciliation explains it, and the bot ends."""
    await engine.open_position(bot)
    engine.account(bot).checks_funds = True
    engine.account(bot).deposit("BTC", "-2")
    await engine.trading.emergency_stop(bot.trader.principal, reason="test", close_positions=True)

    await carry_on(engine, bot, rounds=3)
    await confirm(engine, bot)
    view = await engine.carry_out(bot)

    assert view.finished
    position = await engine.position(bot)
    assert (position.state, position.exit_quantity) == ("closed", Decimal(1))
    assert position.closed_elsewhere_quantity == 2


async def test_a_late_fill_of_our_own_explains_what_had_seemed_gone(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    account = engine.account(bot)
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    account.listing_delay = timedelta(minutes=5)
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    engine.venue.market.now += timedelta(minutes=1)
    engine.wall.advance(60)
    assert (await engine.settle(bot, task.order_id)).state == "absent"
    await confirm(engine, bot)
    assert (await engine.position(bot)).exit_reason == "closed_elsewhere"

    engine.venue.market.now += timedelta(minutes=5)
    await reconcile(engine, bot)

    position = await engine.position(bot)
    assert position.closed_elsewhere_quantity == 0
    assert position.exit_quantity == QUANTITY
    assert position.state == "closed"
    assert position.surplus_quantity == 0


async def carry_on(engine: Engine, bot: RunningBot, *, rounds: int) -> None:
    """What the bot's workflow does in a while, whether it comes to an end or not."""
    for _ in range(rounds):
        view = await engine.guard(bot)
        for task in view.orders:
            await engine.place(bot, task.order_id)
        engine.wall.advance(view.recheck_seconds or 1)


async def test_what_left_by_manual_actions_is_no_loss_of_the_day(
    engine: Engine, bot: RunningBot
) -> None:
    """Two of three units are sold by hand at the price they were bought for."""
    await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-2")
    account.deposit("USD", "200")
    await confirm(engine, bot)
    await confirm(engine, bot)
    position = await engine.position(bot)
    assert position.closed_elsewhere_quantity == 2
    assert position.open_quantity == 1

    async with engine.database.for_user(bot.trader.user_id) as session:
        row = await lock_account(session, bot.trader.account_id)
        now = engine.venue.market.now
        standing = await account_standing(session, row, {"BTC-USD": PRICE + 1}, now)

    assert standing.common.daily_net_pnl == 1 - position.fees


async def test_a_wallet_that_cannot_be_read_keeps_no_other_from_being_compared(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    await engine.open_position(bot, "ETH-USD")
    account = engine.account(bot)
    account.deposit("BTC", "-1")
    account.deposit("ETH", "-1")
    account.unreadable.add("ETH")

    await confirm(engine, bot)
    await confirm(engine, bot)

    assert (await engine.position(bot)).closed_elsewhere_quantity == 1
    assert (await engine.position(bot, "ETH-USD")).closed_elsewhere_quantity == 0
    assert {currency for currency, _, _ in await flows(engine, bot)} == {"BTC"}


async def test_a_wallet_of_the_accounts_own_currency_that_cannot_be_read_makes_no_deposit(
    engine: Engine, bot: RunningBot
) -> None:
    """What is gone is closed; what came for it is compared once it can be read."""
    await engine.open_position(bot)
    account = engine.account(bot)
    account.deposit("BTC", "-1")
    account.deposit("USD", "100")
    account.unreadable.add("USD")
    await see_prices(engine)
    await confirm(engine, bot)
    await confirm(engine, bot)
    assert (await engine.position(bot)).closed_elsewhere_quantity == 1
    assert await flows(engine, bot) == []

    account.unreadable.clear()
    await confirm(engine, bot)
    await confirm(engine, bot)

    assert (await engine.position(bot)).closed_elsewhere_quantity == 1
    assert [kind for *_, kind in await flows(engine, bot)] == ["external_trade"] * 2
    await assert_in_order(engine, bot)


async def test_an_order_that_is_stuck_in_one_market_hides_no_shortfall_of_another(
    engine: Engine, bot: RunningBot
) -> None:
    """An exit in BTC-USD is refused for want of funds until what was sold by hand is closed."""
    await engine.open_position(bot)
    other = await engine.open_position(bot, "ETH-USD")
    account = engine.account(bot)
    account.answers.append(Answer.REST)
    account.cancel_answers.extend([Cancel.REFUSE] * 20)
    await engine.fire(other, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    account.deposit("BTC", "-3")
    account.deposit("USD", "300")
    await see_prices(engine)

    await confirm(engine, bot)
    await confirm(engine, bot)

    assert (await engine.order(task.order_id)).state == "open"
    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "closed_elsewhere")
    assert await flows(engine, bot) == [], "USD may still move with the order that is stuck"

    account.fill_resting((await engine.order(task.order_id)).client_order_id)
    await engine.settle(bot, task.order_id)
    await confirm(engine, bot)
    await confirm(engine, bot)

    assert [kind for *_, kind in await flows(engine, bot)] == ["external_trade"] * 2
    await assert_in_order(engine, bot)


async def test_a_shortfall_waits_for_no_position_that_is_locked(
    engine: Engine, bot: RunningBot
) -> None:
    """Nor does the account, which is locked while it is compared: its exits would wait too."""
    await engine.open_position(bot)
    await engine.open_position(bot, "ETH-USD")
    account = engine.account(bot)
    account.deposit("BTC", "-1")
    account.deposit("ETH", "-1")
    await reconcile(engine, bot)
    engine.wall.advance(CONFIRM_AFTER.total_seconds())
    async with engine.database.for_user(bot.trader.user_id) as session:
        locked = select(Position).where(Position.symbol == "BTC-USD").with_for_update()
        assert (await session.exec(locked)).all()
        async with asyncio.timeout(LOCK_TIMEOUT_MS / 1_000):
            await reconcile(engine, bot)

    assert (await engine.position(bot, "ETH-USD")).closed_elsewhere_quantity == 1
    assert (await engine.position(bot)).closed_elsewhere_quantity == 0
    await reconcile(engine, bot)
    assert (await engine.position(bot)).closed_elsewhere_quantity == 1
    await assert_in_order(engine, bot)


async def test_balances_that_lag_a_fill_for_minutes_close_nothing_elsewhere(
    engine: Engine, bot: RunningBot
) -> None:
    """They show the account as it was before the entry, to the last digit."""
    account = engine.account(bot)
    before = dict(account.totals)
    await engine.open_position(bot)
    now = dict(account.totals)
    account.totals = before
    for _ in range(6):
        engine.wall.advance(30)
        await reconcile(engine, bot)

    position = await engine.position(bot)
    assert (position.state, position.closed_elsewhere_quantity) == ("open", ZERO)
    assert await flows(engine, bot) == []

    account.totals = now
    await confirm(engine, bot)
    assert await flows(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_balances_that_lag_a_sale_of_ours_for_minutes_are_no_flow(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    account = engine.account(bot)
    await see_prices(engine)
    before = dict(account.totals)
    engine.wall.advance(10)
    engine.venue.market.now += timedelta(seconds=10)
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    now = dict(account.totals)
    account.totals = before
    engine.wall.advance(60)
    await reconcile(engine, bot)
    assert await flows(engine, bot) == []

    account.totals = now
    await confirm(engine, bot)

    assert await flows(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_what_still_shows_no_fill_after_minutes_is_believed(
    engine: Engine, bot: RunningBot
) -> None:
    account = engine.account(bot)
    before = dict(account.totals)
    await engine.open_position(bot)
    account.totals = before
    engine.wall.advance(LAG_MAX.total_seconds())

    await confirm(engine, bot)
    await confirm(engine, bot)

    assert (await engine.position(bot)).state == "closed"
