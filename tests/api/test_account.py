from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.positions import PositionState
from domain.strategies.apex import InvalidProtection
from services.errors import PositionCanBeSold
from tests.api.fakes import VENUE_NOW
from tests.api.harness import PREFIX, Api, World
from tests.api.seeding import (
    account_of,
    forget_quotes,
    hold,
    make_closed,
    make_position,
    make_run,
    watch_venue,
)

pytestmark = pytest.mark.integration

NOTHING_FILLED = {
    "entry_quantity": Decimal(0),
    "entry_notional": Decimal(0),
    "open_quantity": Decimal(0),
}


@pytest.fixture(autouse=True)
async def quotes(world: World) -> None:
    await forget_quotes(world)
    await watch_venue(world, BTC="7000", ETH="400")


async def test_positions_are_valued_at_the_last_quote(world: World, user: Api) -> None:
    position = await make_position(world, await make_run(world, user))

    data = await user.data("GET", "/account/positions")

    assert data == {
        "positions": [
            {
                "position_id": f"pos_{position.id.hex}",
                "symbol": "BTC-USD",
                "side": "long",
                "entry_price": 6800,
                "current_price": 7000,
                "size_usd": 3400,
                "quantity": 0.5,
                "unrealized_pnl": 100,
                "unrealized_pnl_pct": 2.9412,
                "stop_loss": 6700,
                "take_profit": 7100,
                "opened_at": "2018-04-04T10:00:00Z",
                "broker": "coinbase",
                "realized_pnl": 0,
                "fees": 3.4,
                "sold_quantity": 0,
                "closed_elsewhere_quantity": 0,
                "written_off_quantity": 0,
                "market_status": "open",
                "closing": False,
                "exit_state": None,
                "exit_due_at": None,
                "exit_attempts": 0,
                "exit_error": None,
            }
        ],
        "summary": {
            "total_positions": 1,
            "total_value_usd": 3400,
            "total_unrealized_pnl": 100,
            "total_unrealized_pnl_pct": 2.9412,
        },
    }


async def test_only_what_is_still_open_counts(world: World, user: Api) -> None:
    run = await make_run(world, user)
    await make_position(
        world,
        run,
        exit_quantity=Decimal("0.2"),
        exit_notional=Decimal(1420),
        open_quantity=Decimal("0.3"),
        side="short",
    )
    await make_position(
        world,
        run,
        symbol="ETH-USD",
        state=PositionState.PENDING,
        **NOTHING_FILLED,
    )

    data = await user.data("GET", "/account/positions")

    [item] = data["positions"]
    assert (item["quantity"], item["size_usd"], item["unrealized_pnl"]) == (0.3, 2040, -60)
    assert (await user.data("GET", "/account/positions?symbol=eth-usd"))["positions"] == []


async def test_a_position_without_a_quote_has_no_value(world: World, user: Api) -> None:
    run = await make_run(world, user)
    await make_position(world, run)
    await make_position(world, run, symbol="SOL-USD")
    await hold(world, await account_of(world, user), "SOL", "3")

    positions = await user.data("GET", "/account/positions")
    balance = await user.data("GET", "/account/balance")

    unknown = next(item for item in positions["positions"] if item["symbol"] == "SOL-USD")
    assert unknown["current_price"] is unknown["unrealized_pnl"] is None
    assert positions["summary"]["total_unrealized_pnl"] is None
    assert balance["unrealized_pnl"] is None
    assert (balance["equity"], balance["equity_is_lower_bound"]) == (10000, True)
    assert balance["unpriced"] == ["SOL"]
    assert balance["cash"] == 10000


async def test_what_has_no_price_is_named_and_left_out_everywhere(world: World, user: Api) -> None:
    account = await account_of(world, user)
    await hold(world, account, "USDC", "40")
    await hold(world, account, "STAKED", "3")
    await hold(world, account, "EUR", "100")

    balance = await user.data("GET", "/account/balance")
    dashboard = await user.data("GET", "/analytics/dashboard")
    stats = (await user.data("GET", "/account/stats"))["account"]

    for view, equity in ((balance, "equity"), (dashboard, "balance"), (stats, "current_balance")):
        assert view[equity] == 10040
        assert view["unpriced"] == ["EUR", "STAKED"]
        assert view["equity_is_lower_bound"] is True
    assert balance["unrealized_pnl"] == 0
    assert stats["all_time_high"] == stats["all_time_low"] == 10000


async def test_a_quote_of_an_earlier_replay_is_no_quote(world: World, user: Api) -> None:
    await make_position(world, await make_run(world, user))
    await world.sql("UPDATE venue_states SET epoch = 'epoch-2'")

    data = await user.data("GET", "/account/positions")

    assert data["positions"][0]["current_price"] is None


async def test_spot_equity_is_cash_and_everything_held(world: World, user: Api) -> None:
    account = await account_of(world, user)
    await hold(world, account, "USD", "6600.5")
    await hold(world, account, "BTC", "0.5")
    await make_position(world, await make_run(world, user))

    assert await user.data("GET", "/account/balance") == {
        "broker": "coinbase",
        "cash": 6600.5,
        "equity": 10100.5,
        "unpriced": [],
        "equity_is_lower_bound": False,
        "unrealized_pnl": 100,
        "buying_power": 6600.5,
        "currency": "USD",
        "last_updated": "2018-04-04T12:00:00Z",
        "mode": "paper",
    }


async def test_numbers_are_plain_json_numbers(
    world: World, user: Api, client: httpx.AsyncClient
) -> None:
    run = await make_run(world, user)
    tiny = Decimal("0.00001")
    await make_position(
        world, run, entry_quantity=tiny, open_quantity=tiny, entry_notional=Decimal("0.068")
    )

    answer = await client.get(
        f"{PREFIX}/account/positions", headers={"Authorization": f"Bearer {user.token}"}
    )

    assert '"quantity":0.00001,' in answer.text
    assert '"size_usd":0.068,' in answer.text
    assert '"entry_price":6800.00,' in answer.text


async def test_history_is_paged_newest_first(world: World, user: Api) -> None:
    run = await make_run(world, user)
    for hours in range(5):
        await make_closed(world, run, pnl="20", closed_at=VENUE_NOW - timedelta(hours=hours))

    page = await user.data("GET", "/account/history?page=2&per_page=2")

    assert page["pagination"] == {
        "page": 2,
        "per_page": 2,
        "total_items": 5,
        "total_pages": 3,
        "has_next": True,
        "has_prev": True,
    }
    assert [trade["opened_at"] for trade in page["trades"]] == [
        "2018-04-04T08:30:00Z",
        "2018-04-04T07:30:00Z",
    ]
    trade = page["trades"][0]
    assert trade["trade_id"].startswith("trd_")
    expected = {
        "symbol": "BTC-USD",
        "side": "long",
        "status": "closed",
        "entry_price": 6800,
        "exit_price": 6840,
        "size_usd": 3400,
        "quantity": 0.5,
        "realized_pnl": 20,
        "realized_pnl_pct": 0.5882,
        "fees": 1,
        "net_pnl": 19,
        "closed_at": "2018-04-04T10:00:00Z",
        "duration_minutes": 90,
        "exit_reason": "take_profit",
        "broker": "coinbase",
        "mode": "paper",
    }
    assert {name: trade[name] for name in expected} == expected


async def test_a_trade_that_is_partly_closed_shows_what_it_has_made(
    world: World, user: Api
) -> None:
    sold = {"exit_quantity": Decimal("0.2"), "exit_notional": Decimal(1400)}
    rest = {"open_quantity": Decimal("0.3"), "realized_pnl": Decimal(40)}
    await make_position(world, await make_run(world, user), **sold, **rest)

    (trade,) = (await user.data("GET", "/account/history"))["trades"]
    (position,) = (await user.data("GET", "/account/positions"))["positions"]

    assert (trade["realized_pnl"], trade["fees"], trade["net_pnl"]) == (40, 3.4, 36.6)
    assert trade["realized_pnl_pct"] == 2.9412, "of the 1,360 that were paid for what was sold"
    assert (position["realized_pnl"], position["fees"]) == (40, 3.4)
    assert position["unrealized_pnl"] == 60


async def test_history_filters(world: World, user: Api) -> None:
    run = await make_run(world, user)
    await make_closed(world, run, pnl="20", closed_at=VENUE_NOW - timedelta(days=2))
    await make_position(world, run)
    await make_position(
        world,
        run,
        symbol="ETH-USD",
        state=PositionState.CANCELLED,
        **NOTHING_FILLED,
    )

    async def count(query: str) -> int:
        data = await user.data("GET", f"/account/history?{query}")
        assert len(data["trades"]) == data["pagination"]["total_items"]
        return len(data["trades"])

    assert await count("") == 3
    assert await count("status=open") == 1
    assert await count("status=closed") == 1
    assert await count("status=cancelled") == 1
    assert await count("symbol=ETH-USD") == 1
    assert await count("start_date=2018-04-04") == 2
    assert await count("end_date=2018-04-02") == 1
    assert await count("start_date=2018-04-04T10:00:00Z&end_date=2018-04-04T10:00:00Z") == 0
    assert await count("mode=paper&broker=coinbase") == 3
    assert await count("start_date=0001-01-01&end_date=9999-12-31") == 3
    assert await count("start_date=0001-01-01T00:00:00%2B14:00") == 3
    assert await count("end_date=9999-12-31T23:59:59-14:00") == 3
    assert await count("start_date=2018-04-04T05:59:59%2B05:59:59.5") == 2
    assert await count("start_date=9999-12-31") == 0


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-02-30", "1706529720", "2026-01-31T10:42 00:00"]
)
async def test_a_strange_date_is_explained_and_not_repeated(user: Api, text: str) -> None:
    answer = await user.call("GET", f"/account/history?start_date={text}")

    [explanation] = answer.json()["error"]["details"]["fields"].values()
    assert "2026-01-31T10:42:00Z" in explanation
    assert text not in answer.text


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/account/history?per_page=101", (422, "VALIDATION_ERROR")),
        ("/account/history?page=0", (422, "VALIDATION_ERROR")),
        ("/account/history?status=lost", (422, "VALIDATION_ERROR")),
        ("/account/history?start_date=yesterday", (422, "VALIDATION_ERROR")),
        ("/account/history?sort=asc", (422, "VALIDATION_ERROR")),
        ("/account/positions?symbol=BTC", (422, "VALIDATION_ERROR")),
        ("/account/positions?mode=dream", (422, "VALIDATION_ERROR")),
        ("/account/performance?period=2d", (422, "VALIDATION_ERROR")),
        ("/account/balance?broker=kraken", (400, "UNSUPPORTED_BROKER")),
        ("/account/balance?mode=live", (400, "NO_BROKER_CONFIGURED")),
        ("/account/positions?mode=live", (400, "NO_BROKER_CONFIGURED")),
        ("/account/history?mode=live", (400, "NO_BROKER_CONFIGURED")),
        ("/account/performance?mode=live", (400, "NO_BROKER_CONFIGURED")),
    ],
)
async def test_views_are_refused(user: Api, path: str, error: tuple[int, str]) -> None:
    assert await user.error("GET", path) == error


async def test_a_refusal_says_what_would_be_taken(user: Api) -> None:
    market = await user.call("GET", "/account/positions?symbol=BTC%0A")
    broker = await user.call("GET", "/account/balance?broker=kraken")

    fields = market.json()["error"]["details"]["fields"]
    assert fields == {"symbol": "Name a market like BTC-USD"}
    assert broker.json()["error"]["details"] == {"supported": ["coinbase"]}


async def test_performance_of_a_period(world: World, user: Api) -> None:
    run = await make_run(world, user)
    await make_closed(world, run, pnl="100", fees="10", closed_at=VENUE_NOW - timedelta(days=40))
    await make_closed(world, run, pnl="60", fees="10", closed_at=VENUE_NOW - timedelta(days=1))
    await make_closed(world, run, pnl="-20", fees="5", closed_at=VENUE_NOW)

    week = await user.data("GET", "/account/performance?period=7d")

    metrics = week["metrics"]
    assert (metrics["total_trades"], metrics["winning_trades"]) == (2, 1)
    assert (metrics["total_pnl"], metrics["total_fees"], metrics["net_pnl"]) == (40, 15, 25)
    assert (metrics["win_rate"], metrics["profit_factor"]) == (0.5, 2)
    assert metrics["max_drawdown"] == -25
    assert len(week["daily_pnl"]) == 7
    assert week["daily_pnl"][-2:] == [
        {"date": "2018-04-03", "pnl": 50},
        {"date": "2018-04-04", "pnl": -25},
    ]
    assert week["equity_curve"][0]["equity"] == 10090
    assert week["equity_curve"][-1]["equity"] == 10115
    all_time = await user.data("GET", "/account/performance?period=all")
    assert all_time["metrics"]["net_pnl"] == 115
    assert all_time["daily_pnl"][0]["date"] == "2018-02-23"


async def test_performance_of_nothing(user: Api) -> None:
    data = await user.data("GET", "/account/performance")
    assert data["period"] == "30d"
    assert data["metrics"]["total_trades"] == 0
    assert (data["metrics"]["profit_factor"], data["metrics"]["payoff_ratio"]) == (0, 0)
    assert data["equity_curve"][-1] == {"date": "2018-04-04", "equity": 10000, "return_pct": 0}
    assert (await user.data("GET", "/account/performance?period=all"))["equity_curve"] == []


async def test_the_view_is_of_the_last_run_s_account(world: World, user: Api) -> None:
    from tests.api.test_config import connect  # noqa: PLC0415 - one test of this file needs keys

    await connect(world, user)
    assert (await user.data("GET", "/account/balance"))["mode"] == "paper"

    await make_run(world, user, mode="live", state="stopped")

    assert (await user.data("GET", "/account/balance"))["mode"] == "live"
    assert (await user.data("GET", "/account/balance?mode=paper"))["mode"] == "paper"


# --- commands -------------------------------------------------------------------------------------


async def test_closing_a_position(world: World, user: Api) -> None:
    position_id = uuid4()
    data = await user.data("POST", f"/account/positions/pos_{position_id.hex}/close")

    assert data["position_id"] == f"pos_{position_id.hex}"
    assert (data["status"], data["quantity"]) == ("closing", 0.5)
    asked = {"position_id": position_id, "percent": None, "quantity": None}
    assert world.trading.calls == [("close_position", asked)]


@pytest.mark.parametrize(
    ("body", "percent", "quantity"),
    [
        ({}, None, None),
        ({"percent": 50}, "50", None),
        ({"percent": 0.5}, "0.5", None),
        ({"percent": 100, "quantity": None}, "100", None),
        ({"quantity": 0.01157}, None, "0.01157"),
    ],
    ids=str,
)
async def test_closing_a_part_of_a_position(
    world: World, user: Api, body: dict[str, Any], percent: str | None, quantity: str | None
) -> None:
    path = f"/account/positions/pos_{uuid4().hex}/close"
    await user.data("POST", path, json=body)

    ((_, asked),) = world.trading.calls
    assert asked["percent"] == (None if percent is None else Decimal(percent))
    assert asked["quantity"] == (None if quantity is None else Decimal(quantity))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"percent": 0}, "percent"),
        ({"percent": -1}, "percent"),
        ({"percent": 101}, "percent"),
        ({"percent": "half"}, "percent"),
        ({"percent": "50"}, "percent"),
        ({"percent": True}, "percent"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -0.5}, "quantity"),
        ({"quantity": "all"}, "quantity"),
        ({"size_usd": 100}, "size_usd"),
        ({"percent": 50, "quantity": 1}, "quantity"),
    ],
    ids=str,
)
async def test_a_part_that_is_no_part_closes_nothing(
    world: World, user: Api, body: dict[str, Any], field: str
) -> None:
    answer = await user.call("POST", f"/account/positions/pos_{uuid4().hex}/close", json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    assert field in error["details"]["fields"]
    assert world.trading.calls == []


async def test_writing_a_position_off(world: World, user: Api) -> None:
    position_id = uuid4()
    data = await user.data("POST", f"/account/positions/pos_{position_id.hex}/write-off")

    assert (data["position_id"], data["status"]) == (f"pos_{position_id.hex}", "written_off")
    assert world.trading.calls == [("write_off_position", {"position_id": position_id})]


async def test_what_can_be_sold_is_not_written_off(world: World, user: Api) -> None:
    world.trading.failure = PositionCanBeSold()
    path = f"/account/positions/pos_{uuid4().hex}/write-off"
    assert await user.error("POST", path) == (409, "POSITION_CAN_BE_SOLD")


async def test_modifying_a_position(world: World, user: Api) -> None:
    position_id = uuid4()
    path = f"/account/positions/pos_{position_id.hex}"

    await user.data("PATCH", path, json={"stop_loss": 6750.25})

    [(name, arguments)] = world.trading.calls
    assert name == "modify_position"
    assert arguments["stop_loss"] == Decimal("6750.25")
    assert arguments["take_profit"] is None


@pytest.mark.parametrize(
    "body",
    [{}, {"stop_loss": 0}, {"stop_loss": -1}, {"stop_loss": "6700"}, {"stop_loss": True}, {"x": 1}],
)
async def test_nonsense_does_not_modify(world: World, user: Api, body: dict[str, object]) -> None:
    path = f"/account/positions/pos_{uuid4().hex}"
    assert await user.error("PATCH", path, json=body) == (422, "VALIDATION_ERROR")
    assert world.trading.calls == []


async def test_protection_that_would_fire_at_once_names_its_field(world: World, user: Api) -> None:
    sentence = "The stop of a long position must be below the market price"
    fields = {"stop_loss": sentence}
    world.trading.failure = InvalidProtection(sentence, details={"fields": fields})
    body = {"stop_loss": 7001, "take_profit": 7100}

    answer = await user.call("PATCH", f"/account/positions/pos_{uuid4().hex}", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "code": "VALIDATION_ERROR",
        "message": sentence,
        "details": {"fields": fields},
    }


async def test_numbers_that_are_none_are_refused(world: World, user: Api) -> None:
    path = f"/account/positions/pos_{uuid4().hex}"
    headers = {"Content-Type": "application/json"}
    for text in ('{"stop_loss": NaN}', '{"stop_loss": Infinity}', '{"stop_loss": 1e400}'):
        status, _ = await user.error("PATCH", path, content=text, headers=headers)
        assert status in {400, 422}
    assert world.trading.calls == []


@pytest.mark.parametrize("position_id", ["nonsense", "trd_" + "0" * 32, "pos_xyz", "pos_"])
async def test_ids_of_another_form_are_not_found(user: Api, position_id: str) -> None:
    path = f"/account/positions/{position_id}"
    not_found = (404, "POSITION_NOT_FOUND")
    assert await user.error("POST", f"{path}/close") == not_found
    assert await user.error("PATCH", path, json={"stop_loss": 1}) == not_found
