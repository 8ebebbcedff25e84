"""Statistics, dashboard and trade analytics as the contract's clients see them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import make_closed, make_position, make_run, watch_venue

pytestmark = pytest.mark.integration


async def trade(world: World, user: Api) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    await make_closed(world, run, pnl="60", fees="10", closed_at=VENUE_NOW - timedelta(days=1))
    await make_closed(world, run, pnl="-20", fees="5", closed_at=VENUE_NOW, symbol="ETH-USD")
    await make_position(world, run)


def kinds(value: Any) -> Any:
    """The shape of an answer: names and JSON types."""
    if isinstance(value, dict):
        return {name: kinds(part) for name, part in value.items()}
    if isinstance(value, list):
        return [kinds(part) for part in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


async def test_statistics(world: World, user: Api) -> None:
    await trade(world, user)

    data = await user.data("GET", "/account/stats")

    assert kinds(data) == {
        "account": {
            "user_id": "str",
            "subscription_tier": "str",
            "account_age_days": "number",
            "total_deposits": "number",
            "total_withdrawals": "number",
            "flows_unpriced": [],
            "current_balance": "number",
            "unpriced": [],
            "equity_is_lower_bound": "number",
            "all_time_high": "number",
            "all_time_low": "number",
            "broker": "str",
            "mode": "str",
        },
        "trading": {
            "total_trades_all_time": "number",
            "total_volume_usd": "number",
            "total_fees_paid": "number",
            "best_month": {
                "month": "str",
                "pnl": "number",
                "pnl_pct": "number",
                "net_pnl": "number",
            },
            "current_streak": {"type": "str", "count": "number", "started": "str"},
        },
        "risk": {
            "current_risk_level": "str",
            "max_position_size_usd": "number",
            "max_positions": "number",
            "current_leverage": "number",
            "available_leverage": "number",
        },
    }
    assert data["account"]["subscription_tier"] == "free"
    assert data["account"]["all_time_high"] == 10121.6, "10,025 and what the open position has made"
    assert data["trading"]["total_fees_paid"] == 18.4, "the open position paid its entry too"
    assert data["trading"]["current_streak"] == {
        "type": "losing",
        "count": 1,
        "started": "2018-04-04T12:00:00Z",
    }


async def test_the_dashboard(world: World, user: Api) -> None:
    await trade(world, user)

    data = await user.data("GET", "/analytics/dashboard")

    assert data["today"] == {
        "pnl": -20,
        "pnl_pct": -0.199,
        "trades": 1,
        "win_rate": 0,
        "net_pnl": -25,
    }
    assert (data["month"]["pnl"], data["month"]["trades"], data["month"]["win_rate"]) == (
        40,
        2,
        0.5,
    )
    assert (data["active_positions"], data["balance"]) == (1, 10000)
    assert data["top_performer"] == {
        "symbol": "BTC-USD",
        "pnl": 60,
        "pnl_pct": 1.7647,
        "net_pnl": 50,
    }


async def test_a_trade_has_one_percentage(world: World, user: Api) -> None:
    """Half of it was closed elsewhere, at no known price: the percent is of the other half."""
    run = await make_run(world, user)
    await make_closed(
        world,
        run,
        pnl="11",
        closed_at=VENUE_NOW,
        exit_quantity=Decimal("0.25"),
        closed_elsewhere_quantity=Decimal("0.25"),
    )

    (listed,) = (await user.data("GET", "/account/history"))["trades"]
    best = (await user.data("GET", "/analytics/trades"))["best_trade"]

    assert listed["realized_pnl_pct"] == best["pnl_pct"] == 0.6471


async def test_a_trade_that_was_written_off_lowers_no_win_rate(world: World, user: Api) -> None:
    """Nothing of it was sold: it is neither won nor lost."""
    run = await make_run(world, user)
    await make_closed(world, run, pnl="60", closed_at=VENUE_NOW)
    await make_closed(
        world,
        run,
        pnl="0",
        closed_at=VENUE_NOW,
        exit_quantity=Decimal(0),
        exit_notional=Decimal(0),
        written_off_quantity=Decimal("0.5"),
    )

    data = await user.data("GET", "/analytics/trades")
    assert (data["total_trades"], data["by_outcome"]["win_rate"]) == (2, 1)
    assert (data["by_symbol"][0]["win_rate"], data["by_hour"][0]["win_rate"]) == (1, 1)
    assert (await user.data("GET", "/account/performance"))["metrics"]["win_rate"] == 1
    assert (await user.data("GET", "/analytics/dashboard"))["today"]["win_rate"] == 1


async def test_trade_analytics(world: World, user: Api) -> None:
    await trade(world, user)

    data = await user.data("GET", "/analytics/trades")

    assert (data["period"], data["total_trades"]) == ("30d", 2)
    assert data["by_outcome"] == {"wins": 1, "losses": 1, "win_rate": 0.5}
    group = {"trades": 1, "pnl": 60, "avg_pnl": 60, "net_pnl": 50, "win_rate": 1}
    assert data["by_symbol"][0] == {"symbol": "BTC-USD", **group}
    assert [it["hour"] for it in data["by_hour"]] == [12]
    assert data["avg_hold_time_minutes"] == 90
    assert data["best_trade"]["trade_id"].startswith("trd_")
    assert (data["best_trade"]["pnl"], data["worst_trade"]["pnl"]) == (60, -20)
    assert data["by_day"] is None
    by_week = await user.data("GET", "/analytics/trades?group_by=week&symbol=eth-usd")
    assert [(it["week"], it["start_date"], it["pnl"]) for it in by_week["by_week"]] == [
        ("2018-W14", "2018-04-02", -20)
    ]
    by_month = await user.data("GET", "/analytics/trades?group_by=month&period=all")
    assert [it["month"] for it in by_month["by_month"]] == ["2018-04"]


async def test_nobody_sees_another_s_figures(
    world: World,
    user: Api,
    other: Api,
) -> None:
    await trade(world, user)

    for path in ("/analytics/dashboard", "/analytics/trades", "/account/stats"):
        assert (await other.call("GET", path)).status_code == 200
    assert (await other.data("GET", "/analytics/trades"))["total_trades"] == 0
    assert (await other.data("GET", "/account/stats"))["trading"]["best_month"] is None


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/analytics/trades?group_by=year", (422, "VALIDATION_ERROR")),
        ("/analytics/trades?period=2d", (422, "VALIDATION_ERROR")),
        ("/analytics/trades?symbol=BTC", (422, "VALIDATION_ERROR")),
        ("/analytics/dashboard?mode=live", (400, "NO_BROKER_CONFIGURED")),
        ("/analytics/trades?broker=kraken", (400, "UNSUPPORTED_BROKER")),
        ("/account/stats?x=1", (422, "VALIDATION_ERROR")),
    ],
)
async def test_what_is_refused(
    user: Api,
    path: str,
    error: tuple[int, str],
) -> None:
    assert await user.error("GET", path) == error
