"""Commissions settled later and fills listed late, twice, in pieces or out of order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from domain.markets import Mode
from domain.money import ZERO
from tests.support.books import assert_in_order
from tests.support.engine import QUANTITY, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def reconcile(engine: Engine, bot: RunningBot) -> None:
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)


async def unexplained(engine: Engine, bot: RunningBot) -> list[Decimal]:
    rows = await engine.rows(
        "SELECT amount FROM flows WHERE account_id = :id AND kind <> 'opening'",
        id=bot.trader.account_id,
    )
    return [row["amount"] for row in rows]


def settle_commissions(engine: Engine, bot: RunningBot, fee: Decimal) -> None:
    """Let the venue change the fee of every execution."""
    account = engine.account(bot)
    for order in account.orders.values():
        for number, fill in enumerate(order.fills):
            account.deposit("USD", str(fill.fee - fee))
            order.fills[number] = replace(fill, fee=fee)


async def test_a_commission_that_is_settled_later_is_corrected_in_all_books(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    settle_commissions(engine, bot, Decimal("0.25"))

    await reconcile(engine, bot)

    assert (await engine.position(bot)).fees == Decimal("0.5")
    assert (await engine.balances(bot))["USD"] == engine.account(bot).totals["USD"]
    assert await unexplained(engine, bot) == []
    await assert_in_order(engine, bot)
    (entry,) = {
        row["fee"]
        for row in await engine.rows(
            "SELECT meta ->> 'fee' AS fee FROM audit_log"
            " WHERE user_id = :user AND event_type = 'fee_corrected'",
            user=bot.trader.user_id,
        )
    }
    assert entry == "0.25 USD"


async def test_a_commission_of_a_closed_trade_is_corrected_in_its_figures(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    closed = await engine.position(bot)
    settle_commissions(engine, bot, Decimal("0.4"))

    await reconcile(engine, bot)
    await reconcile(engine, bot)

    position = await engine.position(bot)
    assert (position.closed_at, position.exit_reason) == (closed.closed_at, "stop_loss")
    assert position.fees == Decimal("1.6")
    (day,) = await engine.rows(
        "SELECT sum(fees) AS fees FROM daily_results WHERE run_id = :run", run=bot.run_id
    )
    assert day["fees"] == Decimal("1.6")
    await assert_in_order(engine, bot)


async def test_a_commission_that_turns_out_to_be_in_the_base_currency_leaves_less_to_sell(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    account = engine.account(bot)
    for order in account.orders.values():
        for number, fill in enumerate(order.fills):
            account.deposit("USD", str(fill.fee))
            account.deposit("BTC", "-0.01")
            order.fills[number] = replace(fill, fee=Decimal("0.01"), fee_currency="BTC")

    await reconcile(engine, bot)

    position = await engine.position(bot)
    assert position.open_quantity == Decimal("2.98")
    assert position.closed_elsewhere_quantity == ZERO
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    assert account.sends[-1].quantity == Decimal("2.98")
    await assert_in_order(engine, bot)


async def test_fills_listed_twice_in_pieces_and_out_of_order_are_booked_once(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    account = engine.account(bot)
    account.fills_delay = timedelta(minutes=1)
    await engine.place(bot, order_id)
    assert (await engine.order(order_id)).state == "open", "its fills are not listed yet"
    (entry,) = account.orders.values()
    first, second = entry.fills
    entry.fills[:] = [second, second]
    engine.venue.market.now += timedelta(minutes=1)
    assert (await engine.settle(bot, order_id)).state == "open"
    entry.fills[:] = [second, first, second]

    assert (await engine.settle(bot, order_id)).state == "filled"

    assert len(await engine.fills(bot)) == 2
    assert (await engine.position(bot)).entry_quantity == first.quantity + second.quantity
    entry.fills[:] = [first, second]
    await reconcile(engine, bot)
    assert await unexplained(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_a_fill_of_an_order_that_had_ended_is_no_money_from_outside(
    engine: Engine, bot: RunningBot
) -> None:
    """The venue lists one more execution of an order that it had reported as over."""
    await engine.open_position(bot)
    account = engine.account(bot)
    (entry,) = account.orders.values()
    late = replace(
        entry.fills[0], venue_fill_id="late", quantity=Decimal("0.5"), fee=Decimal("0.05")
    )
    entry.fills.append(late)
    account.deposit("BTC", "0.5")
    account.deposit("USD", "-50.05")

    await reconcile(engine, bot)
    await reconcile(engine, bot)

    assert (await engine.position(bot)).entry_quantity == Decimal("3.5")
    assert await unexplained(engine, bot) == []


async def test_a_late_part_of_an_entry_leaves_what_its_user_has_set(
    engine: Engine, bot: RunningBot
) -> None:
    """The rest of the entry fills after stop and target were moved: both hold for all of it."""
    account = engine.account(bot)
    entry = await engine.intend_entry(bot)
    account.answers.append(Answer.REST)
    await engine.place(bot, entry)
    client_order_id = (await engine.order(entry)).client_order_id
    account.fill_part(client_order_id, Decimal(1))
    await engine.settle(bot, entry)
    position = await engine.position(bot)
    await engine.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=Decimal(99), take_profit=Decimal(120)
    )

    account.fill_resting(client_order_id)
    await engine.settle(bot, entry)

    position = await engine.position(bot)
    assert position.open_quantity == QUANTITY
    assert position.stop_loss == 99
    assert position.take_profit == 120
    triggers = await engine.triggers(position)
    assert {leg: trigger.price for leg, trigger in triggers.items()} == {
        "stop": 99,
        "target_3": 120,
    }
    await assert_in_order(engine, bot)


async def test_a_commission_that_is_settled_by_less_than_a_cent_is_corrected_too(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    settle_commissions(engine, bot, Decimal("0.153"))

    await reconcile(engine, bot)

    assert (await engine.position(bot)).fees == Decimal("0.306")
    assert await unexplained(engine, bot) == []
    await assert_in_order(engine, bot)


async def end_run(engine: Engine, bot: RunningBot) -> None:
    """Sell what is held and end the run: nobody trades with the account any more."""
    await engine.fire(await engine.open_position(bot), "stop")
    await engine.carry_out(bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await engine.carry_out(bot)
    assert (await engine.run(bot)).state == "ended"


async def reconcile_due(engine: Engine, after: timedelta) -> None:
    engine.wall.advance(after.total_seconds())
    engine.venue.market.now += after
    await engine.reconciling.reconcile_due(everybody=False)


@pytest.fixture
async def trader(alone: Engine) -> RunningBot:
    """A bot with keys at the venue."""
    return await alone.start_bot(mode=Mode.LIVE)


async def test_a_commission_that_is_settled_after_the_run_has_ended_is_corrected(
    alone: Engine, trader: RunningBot
) -> None:
    await end_run(alone, trader)
    await reconcile_due(alone, timedelta(hours=1))
    settle_commissions(alone, trader, Decimal("0.4"))

    await reconcile_due(alone, timedelta(minutes=10))

    assert (await alone.position(trader)).fees == Decimal("1.6")
    assert await unexplained(alone, trader) == []
    await assert_in_order(alone, trader)


async def test_an_account_is_looked_at_for_commissions_for_a_day_only(
    alone: Engine, trader: RunningBot
) -> None:
    await end_run(alone, trader)
    await reconcile_due(alone, timedelta(minutes=10))
    await reconcile_due(alone, timedelta(days=1))
    before = await tried_at(alone, trader)

    await reconcile_due(alone, timedelta(hours=1))

    assert await tried_at(alone, trader) == before


async def test_keys_that_are_refused_after_the_run_has_ended_are_no_news(
    alone: Engine, trader: RunningBot
) -> None:
    """Whoever stops a bot may well take its keys away at the venue."""
    await end_run(alone, trader)
    alone.account(trader).refuses_keys = True

    await reconcile_due(alone, timedelta(hours=1))

    (account,) = await alone.rows("SELECT reconcile_error FROM accounts")
    assert account["reconcile_error"] is None
    assert await alone.rows("SELECT kind FROM notices WHERE kind = 'keys_refused'") == []
    await reconcile_due(alone, timedelta(days=8))
    before = await tried_at(alone, trader)
    await reconcile_due(alone, timedelta(hours=1))
    assert await tried_at(alone, trader) == before


async def test_a_commission_is_corrected_where_the_balances_had_it_all_along(
    alone: Engine, trader: RunningBot
) -> None:
    """The listing of executions lags the balances, so what differs was taken for a withdrawal."""
    await alone.open_position(trader)
    account = alone.account(trader)
    account.deposit("USD", "-1")
    await reconcile_due(alone, timedelta(minutes=2))
    assert await unexplained(alone, trader) == [Decimal(-1)]
    for order in account.orders.values():
        order.fills[0] = replace(order.fills[0], fee=order.fills[0].fee + 1)

    for _ in range(2):
        await reconcile_due(alone, timedelta(minutes=16))

    assert (await alone.position(trader)).fees == Decimal("1.3")
    assert sum(await unexplained(alone, trader)) == 0, "it came back, and is a commission"
    await assert_in_order(alone, trader)


async def test_a_commission_that_was_settled_while_no_worker_ran_is_corrected(
    alone: Engine, trader: RunningBot
) -> None:
    await alone.open_position(trader)
    await reconcile_due(alone, timedelta(minutes=1))
    settle_commissions(alone, trader, Decimal("0.25"))

    await reconcile_due(alone, timedelta(days=4))

    assert (await alone.position(trader)).fees == Decimal("0.5")
    assert await unexplained(alone, trader) == []
    await assert_in_order(alone, trader)


async def tried_at(engine: Engine, bot: RunningBot) -> datetime:
    (row,) = await engine.rows(
        "SELECT reconcile_tried_at AS at FROM accounts WHERE id = :id", id=bot.trader.account_id
    )
    at: datetime = row["at"]
    return at
