"""What must always be true of our books and the venue's, whatever happened on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from domain.money import ZERO
from domain.orders import OrderState, Side
from domain.positions import Direction, PositionFill, fold_fills
from domain.risk import trading_day
from services.analytics.recounting import count_differences
from services.orders.dust import DUST
from services.orders.market_rules import rules_from_record
from tests.support.engine import Engine, RunningBot

ENDS_WITHOUT_THE_VENUE = {OrderState.REFUSED, OrderState.DENIED, OrderState.ABSENT}


async def assert_in_order(engine: Engine, bot: RunningBot) -> None:
    """Nothing doubled, nothing lost, nothing invented; every sum equals its recomputation."""
    _assert_sent_once(engine, bot)
    await _assert_orders_are_the_venues(engine, bot)
    await _assert_fills_are_the_venues(engine, bot)
    await _assert_positions_are_their_fills(engine, bot)
    await _assert_protected(engine, bot)
    await _assert_days_add_up(engine, bot)
    await _assert_roll_ups_are_their_trades(engine, bot)
    assert await engine.balances(bot) == {
        name: total for name, total in engine.account(bot).totals.items() if total
    }


def _assert_sent_once(engine: Engine, bot: RunningBot) -> None:
    account = engine.account(bot)
    sent = [
        request.client_order_id
        for request in account.sends
        if request.side is Side.BUY or not account.repeats_known_orders
    ]
    assert len(sent) == len(set(sent)), "an order was sent twice"


async def _assert_orders_are_the_venues(engine: Engine, bot: RunningBot) -> None:
    theirs = engine.account(bot).orders
    ours = {order.client_order_id: order for order in await engine.orders(bot)}
    assert set(theirs) <= set(ours), "the venue has an order that we do not know"
    for client_order_id, order in ours.items():
        assert OrderState(order.state).is_final, f"{order.leg} is still {order.state}"
        at_venue = theirs.get(client_order_id)
        if at_venue is None:
            assert order.state in ENDS_WITHOUT_THE_VENUE
            assert order.filled_quantity == ZERO
        else:
            assert order.state == at_venue.report.state
            assert order.filled_quantity == at_venue.report.filled_quantity
            assert order.venue_order_id == at_venue.report.venue_order_id


async def _assert_fills_are_the_venues(engine: Engine, bot: RunningBot) -> None:
    ours = sorted(
        (fill.venue_fill_id, fill.side, fill.price, fill.quantity, fill.fee)
        for fill in await engine.fills(bot)
    )
    theirs = sorted(
        (fill.venue_fill_id, fill.side, fill.price, fill.quantity, fill.fee)
        for fill in engine.account(bot).fills_made
    )
    assert ours == theirs


async def _assert_positions_are_their_fills(engine: Engine, bot: RunningBot) -> None:
    fills, orders = await engine.fills(bot), await engine.orders(bot)
    for row in await _positions(engine, bot):
        rules = rules_from_record(row["rules"])
        dust = [
            order.quantity
            for order in orders
            if order.position_id == row["id"] and order.refusal_code == DUST
        ]
        folded = fold_fills(
            Direction(row["side"]),
            [
                PositionFill(
                    fill_id=fill.venue_fill_id,
                    side=Side(fill.side),
                    price=fill.price,
                    quantity=fill.quantity,
                    fee=fill.fee,
                    fee_currency=fill.fee_currency,
                    filled_at=fill.filled_at,
                )
                for fill in fills
                if fill.position_id == row["id"]
            ],
            base=rules.base,
            quote=rules.quote,
            entry_final=True,
            dust=max(dust, default=ZERO) + rules.quantity_step,
            gone=row["closed_elsewhere_quantity"] + row["written_off_quantity"],
        )
        assert row["state"] == folded.state
        assert row["entry_quantity"] == folded.entry_quantity
        assert row["exit_quantity"] == folded.exit_quantity
        assert row["surplus_quantity"] == folded.surplus_quantity
        assert row["open_quantity"] == max(ZERO, folded.remaining_quantity)
        assert row["fees"] == folded.fees
        assert row["exit_quantity"] <= row["entry_quantity"], "more left than came in"
        is_filled = row["state"] in {"open", "closed"}
        assert row["realized_pnl"] == (folded.price_pnl if is_filled else None)
        if row["state"] == "closed":
            assert row["closed_at"] == folded.closed_at or not folded.exit_quantity
            assert row["exit_reason"] is not None


async def _assert_protected(engine: Engine, bot: RunningBot) -> None:
    """An open position has exactly one live stop, and none that is over has any trigger left."""
    live = await engine.rows(
        "SELECT position_id, leg FROM triggers WHERE bot_id = :bot AND state IN ('armed', 'fired')",
        bot=bot.bot_id,
    )
    stops = [row["position_id"] for row in live if row["leg"] == "stop"]
    open_ones = [row["id"] for row in await _positions(engine, bot) if row["state"] == "open"]
    assert sorted(stops) == sorted(open_ones)
    assert {row["position_id"] for row in live} <= set(open_ones)


async def _assert_days_add_up(engine: Engine, bot: RunningBot) -> None:
    expected: dict[object, tuple[int, int, Decimal, Decimal]] = {}
    for row in await _positions(engine, bot):
        if row["state"] != "closed":
            continue
        net = row["realized_pnl"] - row["fees"]
        day = trading_day(row["closed_at"])
        trades, wins, total, fees = expected.get(day, (0, 0, ZERO, ZERO))
        expected[day] = (
            trades + 1,
            wins + int(net > ZERO),
            total + row["realized_pnl"],
            fees + row["fees"],
        )
    days = await engine.rows(
        "SELECT day, trades, wins, price_pnl, net_pnl, fees FROM daily_results WHERE run_id = :run",
        run=bot.run_id,
    )
    # A trade that opened again was taken off its day, and may have left a row of zeros.
    counted = {
        row["day"]: (row["trades"], row["wins"], row["price_pnl"], row["fees"]) for row in days
    }
    assert {day: sums for day, sums in counted.items() if any(sums)} == expected
    assert all(row["net_pnl"] == row["price_pnl"] - row["fees"] for row in days)


async def _assert_roll_ups_are_their_trades(engine: Engine, bot: RunningBot) -> None:
    async with engine.database.for_user(bot.trader.user_id) as session:
        assert await count_differences(session, bot.trader.account_id) == 0


async def _positions(engine: Engine, bot: RunningBot) -> Sequence[Mapping[str, Any]]:
    return await engine.rows(
        "SELECT * FROM positions WHERE account_id = :account", account=bot.trader.account_id
    )
