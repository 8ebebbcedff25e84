"""One odd row, market or account never takes the rest of a view with it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import account_of, hold, make_closed, make_position, make_run, watch_venue

pytestmark = pytest.mark.integration

READS = (
    "/account/positions",
    "/account/balance",
    "/account/history",
    "/account/performance?period=all",
    "/account/stats",
    "/analytics/dashboard",
    "/analytics/trades?period=all&group_by=week",
    "/trading/status",
    "/trading/decisions",
)


async def _every_view_answers(user: Api) -> None:
    for path in READS:
        answer = await user.call("GET", path)
        assert answer.status_code == 200, (path, answer.text)


@pytest.mark.parametrize(
    "odd",
    [
        {"entry_quantity": Decimal(0), "entry_notional": Decimal(0), "exit_quantity": Decimal(0)},
        {"entry_notional": Decimal(0)},
        {"entry_quantity": Decimal("1E+30"), "open_quantity": Decimal("1E+30")},
        {"entry_notional": Decimal("1E-30"), "stop_loss": Decimal("1E-30")},
        {"stop_loss": None, "take_profit": None, "symbol": "NO-MARKET"},
        {"opened_at": VENUE_NOW + timedelta(days=1)},
        {"closed_elsewhere_quantity": Decimal("0.5"), "open_quantity": Decimal("1E-18")},
        {"exit_state": "failing", "exit_error": "x" * 1000, "exit_attempts": 2**31 - 1},
    ],
    ids="-".join,
)
async def test_an_odd_position(world: World, user: Api, odd: dict[str, object]) -> None:
    await watch_venue(world, BTC="7000", ETH="400")
    run = await make_run(world, user)
    await make_position(world, run, **{"symbol": "ETH-USD", **odd})
    good = await make_position(world, run)
    await make_closed(world, run, pnl="5", closed_at=VENUE_NOW)

    await _every_view_answers(user)

    listed = (await user.data("GET", "/account/positions"))["positions"]
    (shown,) = [item for item in listed if item["position_id"] == f"pos_{good.id.hex}"]
    assert (shown["current_price"], shown["unrealized_pnl"]) == (7000, 100)
    # Whatever it holds, the books can be moved.
    await world.sql("UPDATE balances SET total = total - 1 WHERE user_id = %(id)s", id=user.user_id)


@pytest.mark.parametrize("total", ["-5", "1E+40", "1E-40"])
async def test_an_odd_balance(world: World, user: Api, total: str) -> None:
    await watch_venue(world, BTC="7000")
    await make_run(world, user)
    account = await account_of(world, user)
    for currency in ("BTC", "NONE", "USDC", "BTC'--"):
        await hold(world, account, currency, total)

    await _every_view_answers(user)


@pytest.mark.parametrize("price", ["0", "1E-40", "1E+40"])
async def test_an_odd_price(world: World, user: Api, price: str) -> None:
    await watch_venue(world, BTC=price, ETH="400")
    run = await make_run(world, user)
    await make_position(world, run)
    await hold(world, await account_of(world, user), "BTC", "0.5")

    await _every_view_answers(user)


async def test_an_account_that_began_with_nothing_that_anybody_knows(
    world: World, user: Api
) -> None:
    run = await make_run(world, user)
    await world.sql("UPDATE accounts SET opening_equity = NULL")
    await world.sql("DELETE FROM balances")
    await make_closed(world, run, pnl="-500", closed_at=VENUE_NOW)

    await _every_view_answers(user)


async def test_a_part_that_left_by_manual_actions_is_neither_won_nor_lost(
    world: World, user: Api
) -> None:
    run = await make_run(world, user)
    await make_closed(world, run, pnl="10", closed_at=VENUE_NOW - timedelta(minutes=5))
    await make_closed(
        world,
        run,
        pnl="0",
        closed_at=VENUE_NOW,
        exit_notional=Decimal(0),
        closed_elsewhere_quantity=Decimal("0.5"),
        exit_reason="closed_elsewhere",
    )

    metrics = (await user.data("GET", "/account/performance"))["metrics"]
    stats = (await user.data("GET", "/account/stats"))["trading"]
    trades = await user.data("GET", "/analytics/trades")
    newest = (await user.data("GET", "/account/history"))["trades"][0]

    assert (metrics["total_trades"], metrics["winning_trades"]) == (2, 1)
    assert metrics["losing_trades"] == metrics["largest_loss"] == 0
    assert (stats["current_streak"]["type"], stats["current_streak"]["count"]) == ("winning", 1)
    assert trades["worst_trade"]["pnl"] == 10
    assert newest["closed_elsewhere_quantity"] == 0.5
    assert (newest["realized_pnl"], newest["exit_price"]) == (0, 0)


async def test_a_position_shows_its_market_and_how_its_exit_gets_on(
    world: World, user: Api
) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    await make_position(
        world,
        run,
        close_requested="user",
        exit_state="failing",
        exit_due_at=VENUE_NOW,
        exit_attempts=4,
        exit_error="INSUFFICIENT_FUND",
        exit_quantity=Decimal("0.125"),
        open_quantity=Decimal("0.25"),
        closed_elsewhere_quantity=Decimal("0.125"),
    )
    await world.sql(
        "INSERT INTO market_states (venue, realm, symbol, status, since)"
        " VALUES ('coinbase', 'simulated', 'BTC-USD', 'halted', %(since)s)",
        since=world.clock.now() - timedelta(hours=1),
    )
    try:
        (item,) = (await user.data("GET", "/account/positions"))["positions"]
    finally:
        await world.sql("DELETE FROM market_states")

    assert item["market_status"] == "halted"
    assert item["current_price"] is item["unrealized_pnl"] is None, "nobody can trade at it"
    assert (item["closing"], item["exit_state"], item["exit_attempts"]) == (True, "failing", 4)
    assert item["exit_error"] == "INSUFFICIENT_FUND"
    assert (item["sold_quantity"], item["closed_elsewhere_quantity"]) == (0.125, 0.125)
