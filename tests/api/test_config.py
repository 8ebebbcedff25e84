from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from domain.markets import Quote
from domain.ports import KeyPermissions
from tests.api.fakes import FakeVenueAccount
from tests.api.harness import Api, World
from tests.api.seeding import account_of, make_position, make_run

pytestmark = pytest.mark.integration

KEY = "organizations/abc/apiKeys/0123456789abcdef"
SECRET = "-----BEGIN EC PRIVATE KEY-----secret-part-----END EC PRIVATE KEY-----"
KEYS = {"broker": "coinbase", "api_key": KEY, "api_secret": SECRET}


async def connect(world: World, user: Api, key: str = KEY) -> str:
    """Connect a broker; answers its id."""
    world.venues.accounts.setdefault(key, FakeVenueAccount())
    data = await user.data("POST", "/config/brokers", json={**KEYS, "api_key": key})
    return str(data["broker_id"])


# --- settings -------------------------------------------------------------------------------------


async def test_default_settings(user: Api) -> None:
    assert await user.data("GET", "/config/settings") == {
        "trading": {
            "risk_level": "medium",
            "max_position_size_usd": 500,
            "max_concurrent_positions": 3,
            "max_daily_loss_usd": 200,
            "allowed_pairs": ["BTC-USD", "ETH-USD"],
            "paper_trading": True,
            "strategy_may_close_signals": False,
        },
        "notifications": {
            "email_enabled": True,
            "push_enabled": True,
            "trade_notifications": True,
            "daily_summary": True,
            "weekly_report": True,
        },
        "advanced": {
            "enable_meta_ai": False,
            "enable_mmin": False,
            "enable_gmig": False,
            "execution_intelligence": False,
        },
    }


async def test_only_changed_leaves_are_named(world: World, user: Api) -> None:
    change = {
        "trading": {
            "risk_level": "high",
            "max_position_size_usd": 1000.0,
            "max_concurrent_positions": 8,
        },
        "notifications": {"email_enabled": False, "push_enabled": True},
    }

    data = await user.data("PUT", "/config/settings", json=change)

    assert data == {
        "message": "Settings updated successfully",
        "updated_fields": [
            "risk_level",
            "max_position_size_usd",
            "max_concurrent_positions",
            "email_enabled",
        ],
    }
    settings = await user.data("GET", "/config/settings")
    assert settings["trading"]["max_position_size_usd"] == 1000
    assert settings["notifications"]["email_enabled"] is False
    assert [name for name, _ in world.trading.calls] == ["settings_changed"]
    again = await user.data("PUT", "/config/settings", json=change)
    assert again["updated_fields"] == []
    only_told = {"notifications": change["notifications"]}
    assert (await user.data("PUT", "/config/settings", json=only_told))["updated_fields"] == []
    assert len(world.trading.calls) == 2, "the bot is told again of what it trades by"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"trading": {"risk_levl": "high"}}, (400, "INVALID_SETTING")),
        ({"tradng": {}}, (400, "INVALID_SETTING")),
        ({"risk_level": "high"}, (400, "INVALID_SETTING")),
        ({"trading": {"risk_level": "yolo"}}, (400, "INVALID_RISK_LEVEL")),
        ({"trading": {"risk_level": 3}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"max_position_size_usd": 2001}}, (403, "EXCEEDS_TIER_LIMIT")),
        ({"trading": {"max_concurrent_positions": 11}}, (403, "EXCEEDS_TIER_LIMIT")),
        ({"trading": {"max_position_size_usd": "500"}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"max_position_size_usd": -1}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"max_daily_loss_usd": 0}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"max_concurrent_positions": 0}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"max_concurrent_positions": 2.5}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": []}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": None}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": ["BTC"]}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": ["DOGE-USD"]}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": ["BTC-USD", "ETH-BTC"]}}, (422, "VALIDATION_ERROR")),
        ({"trading": {"allowed_pairs": ["BTC-USD", "btc-usd"]}}, (422, "VALIDATION_ERROR")),
        (
            {"trading": {"allowed_pairs": [f"A{n}-USD" for n in range(51)]}},
            (422, "VALIDATION_ERROR"),
        ),
        ({"trading": {"paper_trading": None}}, (422, "VALIDATION_ERROR")),
        ({"trading": []}, (422, "VALIDATION_ERROR")),
        ({"advanced": {"enable_mmin": True}}, (503, "SERVICE_UNAVAILABLE")),
        ({"advanced": {"execution_intelligence": True}}, (503, "SERVICE_UNAVAILABLE")),
    ],
)
async def test_settings_are_refused_and_stay(
    world: World, user: Api, change: dict[str, object], error: tuple[int, str]
) -> None:
    before = await user.data("GET", "/config/settings")
    # A good leaf beside the bad one must not slip through.
    change = {"notifications": {"daily_summary": False}, **change}

    assert await user.error("PUT", "/config/settings", json=change) == error

    assert await user.data("GET", "/config/settings") == before
    assert world.trading.calls == []


async def test_switching_an_advanced_switch_off_is_fine(user: Api) -> None:
    change = {"advanced": {"enable_mmin": False}}
    assert (await user.data("PUT", "/config/settings", json=change))["updated_fields"] == []


async def test_new_pairs_are_looked_up_at_the_venue(world: World, user: Api) -> None:
    change = {"trading": {"allowed_pairs": ["BTC-USD", "SOL-USD"]}}
    world.venues.market.is_down = True
    assert await user.error("PUT", "/config/settings", json=change) == (502, "BROKER_ERROR")
    world.venues.market.is_down = False
    data = await user.data("PUT", "/config/settings", json=change)
    assert data["updated_fields"] == ["allowed_pairs"]


async def test_a_pair_is_refused_by_what_the_venue_says_now(world: World, user: Api) -> None:
    """The list that was read last may be of a pause that is over."""
    world.venues.market.paused.add("SOL-USD")
    change = {"trading": {"allowed_pairs": ["BTC-USD", "SOL-USD"]}}

    data = await user.data("PUT", "/config/settings", json=change)

    assert data["updated_fields"] == ["allowed_pairs"]


async def test_a_plan_without_live_trading_does_not_limit_paper_sizes(
    world: World, user: Api
) -> None:
    world.clock.advance(days=15)
    await user.log_in(user.email)
    wish = {"trading": {"max_position_size_usd": 5000}}
    await user.data("PUT", "/config/settings", json=wish)
    wish = {"trading": {"max_concurrent_positions": 4}}
    assert await user.error("PUT", "/config/settings", json=wish) == (403, "EXCEEDS_TIER_LIMIT")


# --- brokers --------------------------------------------------------------------------------------


async def test_connecting_a_broker(world: World, user: Api) -> None:
    account = world.venues.accounts.setdefault(KEY, FakeVenueAccount())

    data = await user.data("POST", "/config/brokers", json=KEYS)

    assert data["broker_id"].startswith("brk_")
    assert (data["message"], data["status"]) == ("Broker connected successfully", "connected")
    [broker] = (await user.data("GET", "/config/brokers"))["brokers"]
    assert broker["name"] == "coinbase"
    assert broker["display_name"] == "Coinbase Advanced Trade"
    assert broker["permissions"] == ["read", "trade"]
    assert broker["api_key_masked"] == "organiza***abcdef"
    assert broker["realm"] == "simulated"
    assert account.closed == 1
    balance = await user.data("GET", "/account/balance?mode=live")
    assert (balance["cash"], balance["mode"]) == (5000, "live")
    live = await account_of(world, user, "live")
    assert live.opening_equity == 8500
    flows = await world.sql("SELECT kind FROM flows WHERE account_id = %(id)s", id=live.id)
    assert [flow["kind"] for flow in flows] == ["opening", "opening"]


async def test_keys_are_kept_as_the_venue_takes_them(world: World, user: Api) -> None:
    world.venues.accounts.setdefault(KEY, FakeVenueAccount())
    pasted = {**KEYS, "api_key": f"  {KEY}\r\n", "api_secret": f"\n{SECRET} "}

    await user.data("POST", "/config/brokers", json=pasted)

    [broker] = (await user.data("GET", "/config/brokers"))["brokers"]
    assert broker["api_key_masked"] == "organiza***abcdef"
    [row] = await world.sql(
        "SELECT id, sealed FROM connections WHERE user_id = %(id)s", id=user.user_id
    )
    opened = world.vault.open(row["sealed"], bound_to=f"connection:{user.user_id}:{row['id']}")
    kept = json.loads(opened)
    assert (kept["api_key"], kept["api_secret"]) == (KEY, SECRET)


async def test_keys_of_no_usable_form_are_refused_with_what_is_wrong(
    world: World, user: Api
) -> None:
    world.venues.unusable = "The private key is cut off"

    answer = await user.call("POST", "/config/brokers", json=KEYS)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_API_KEY"
    assert answer.json()["error"]["message"] == "The private key is cut off"


async def test_a_connection_without_tradable_currency_says_so(world: World, user: Api) -> None:
    account = world.venues.accounts.setdefault(KEY, FakeVenueAccount())
    account.holds = {"BTC": "0.5", "EUR": "100", "USD": "0"}

    data = await user.data("POST", "/config/brokers", json=KEYS)
    tested = await user.data("POST", f"/config/brokers/{data['broker_id']}/test")
    account.holds = {"USD": "5"}
    again = await user.data("POST", f"/config/brokers/{data['broker_id']}/test")

    assert data["status"] == "connected"
    assert "no USD to trade with; it holds BTC, EUR" in data["warning"]
    assert tested["warning"] == data["warning"]
    assert again["warning"] is None


async def test_keys_are_sealed_for_their_row(world: World, user: Api) -> None:
    await connect(world, user)
    [row] = await world.sql(
        "SELECT id, sealed FROM connections WHERE user_id = %(id)s", id=user.user_id
    )
    assert SECRET.encode() not in row["sealed"]
    opened = world.vault.open(row["sealed"], bound_to=f"connection:{user.user_id}:{row['id']}")
    assert json.loads(opened) == {
        "api_key": KEY,
        "api_secret": SECRET,
        "additional_params": {},
    }


@pytest.mark.parametrize(
    ("permits", "reason"),
    [
        (KeyPermissions(can_read=True, can_trade=True, can_withdraw=True), "withdraw"),
        (KeyPermissions(can_read=True, can_trade=False, can_withdraw=False), "trade"),
    ],
)
async def test_keys_that_may_do_too_much_or_too_little(
    world: World, user: Api, permits: KeyPermissions, reason: str
) -> None:
    world.venues.accounts[KEY] = FakeVenueAccount(permits=permits)

    answer = await user.call("POST", "/config/brokers", json=KEYS)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_API_KEY")
    assert reason in answer.json()["error"]["message"]
    assert (await user.data("GET", "/config/brokers"))["brokers"] == []


async def test_connecting_is_refused(world: World, user: Api) -> None:
    path = "/config/brokers"
    assert await user.error("POST", path, json={**KEYS, "broker": "kraken"}) == (
        400,
        "UNSUPPORTED_BROKER",
    )
    assert await user.error("POST", path, json=KEYS) == (400, "INVALID_API_KEY")
    world.venues.is_down = True
    assert await user.error("POST", path, json=KEYS) == (502, "BROKER_ERROR")
    world.venues.is_down = False
    await connect(world, user)
    assert await user.error("POST", path, json=KEYS) == (409, "BROKER_ALREADY_CONNECTED")
    assert await user.error("POST", path, json={"broker": "coinbase"}) == (
        422,
        "VALIDATION_ERROR",
    )


async def test_connecting_twice_at_the_same_moment(world: World, user: Api) -> None:
    world.venues.accounts[KEY] = FakeVenueAccount()
    answers = await asyncio.gather(
        *(user.call("POST", "/config/brokers", json=KEYS) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_the_plan_limits_connections(world: World, user: Api) -> None:
    await connect(world, user)
    # A connection elsewhere counts too; five are pro's limit.
    for number in range(4):
        await world.sql(
            "INSERT INTO connections (id, user_id, venue, realm, status, version, api_key_masked,"
            " permissions, created_at) VALUES (gen_random_uuid(), %(user)s, %(venue)s,"
            " 'simulated', 'connected', 1, '***', '[]', now())",
            user=user.user_id,
            venue=f"venue-{number}",
        )
    await world.sql(
        "UPDATE connections SET status = 'removed' WHERE venue = 'coinbase' AND user_id = %(id)s",
        id=user.user_id,
    )
    await connect(world, user)
    await world.sql(
        "UPDATE connections SET venue = 'elsewhere' WHERE venue = 'coinbase' AND user_id = %(id)s"
        " AND status <> 'removed'",
        id=user.user_id,
    )
    assert await user.error("POST", "/config/brokers", json=KEYS) == (403, "EXCEEDS_TIER_LIMIT")


async def test_testing_a_broker(world: World, user: Api) -> None:
    broker_id = await connect(world, user)

    data = await user.data("POST", f"/config/brokers/{broker_id}/test")

    assert data["status"] == "connected"
    assert data["permissions"] == ["read", "trade"]
    assert data["account_balance"] == 8500
    assert data["latency_ms"] >= 0


async def test_a_refused_key_breaks_the_connection_until_it_works_again(
    world: World, user: Api
) -> None:
    broker_id = await connect(world, user)
    account = world.venues.accounts.pop(KEY)
    path = f"/config/brokers/{broker_id}/test"

    assert await user.error("POST", path) == (400, "INVALID_API_KEY")
    [broker] = (await user.data("GET", "/config/brokers"))["brokers"]
    assert broker["status"] == "broken"
    assert broker["last_error"]

    world.venues.is_down = True
    assert await user.error("POST", path) == (502, "BROKER_ERROR")
    world.venues.is_down = False
    world.venues.accounts[KEY] = account
    assert (await user.data("POST", path))["status"] == "connected"


async def test_rotating_keys(world: World, user: Api) -> None:
    broker_id = await connect(world, user)
    new = {"api_key": "new-key-of-the-same-account-777777", "api_secret": "new secret"}
    path = f"/config/brokers/{broker_id}"
    assert await user.error("PUT", path, json=new) == (400, "INVALID_API_KEY")
    world.venues.accounts[new["api_key"]] = FakeVenueAccount()

    data = await user.data("PUT", path, json=new)

    assert data["broker_id"] == broker_id
    [broker] = (await user.data("GET", "/config/brokers"))["brokers"]
    assert broker["api_key_masked"].endswith("777777")
    [row] = await world.sql(
        "SELECT version FROM connections WHERE user_id = %(id)s", id=user.user_id
    )
    assert row["version"] == 2


async def test_keys_of_another_account_do_not_replace(world: World, user: Api) -> None:
    broker_id = await connect(world, user)
    await place_order(world, user, venue_order_id="order-1")
    new = {"api_key": "another-account", "api_secret": "secret"}
    path = f"/config/brokers/{broker_id}"
    account = world.venues.accounts[new["api_key"]] = FakeVenueAccount()

    assert await user.error("PUT", path, json=new) == (400, "INVALID_API_KEY")

    account.orders.add("order-1")
    await user.data("PUT", path, json=new)


async def place_order(world: World, user: Api, *, venue_order_id: str) -> None:
    run = await make_run(world, user, mode="live")
    position = await make_position(world, run)
    await world.sql(
        "INSERT INTO orders (id, user_id, account_id, bot_id, run_id, position_id, cause, leg,"
        " attempt, client_order_id, venue_order_id, symbol, side, type, time_in_force, quantity,"
        " reserved_quote, state, filled_quantity, created_at, intended_at)"
        " VALUES (gen_random_uuid(), %(user)s, %(account)s, %(bot)s, %(run)s, %(position)s, 'bar',"
        " 'entry', 1, 'c1', %(venue_order)s, 'BTC-USD', 'buy', 'market', 'ioc', 1, 0, 'filled', 1,"
        " now(), now())",
        user=user.user_id,
        account=run.account_id,
        bot=run.bot_id,
        run=run.id,
        position=position.id,
        venue_order=venue_order_id,
    )


async def test_removing_a_broker(world: World, user: Api) -> None:
    broker_id = await connect(world, user)

    data = await user.data("DELETE", f"/config/brokers/{broker_id}")

    assert data == {
        "message": "Broker removed successfully",
        "open_positions": 0,
        "warning": None,
        "status": "removed",
    }
    assert (await user.data("GET", "/config/brokers"))["brokers"] == []
    [row] = await world.sql(
        "SELECT sealed, status FROM connections WHERE user_id = %(id)s", id=user.user_id
    )
    assert (row["sealed"], row["status"]) == (None, "removed")
    assert world.trading.calls[0][0] == "connection_removed"
    path = f"/config/brokers/{broker_id}"
    assert await user.error("DELETE", path) == (404, "NOT_FOUND")
    assert await user.error("POST", f"{path}/test") == (404, "NOT_FOUND")
    assert await user.error("PUT", path, json={"api_key": "a", "api_secret": "b"}) == (
        404,
        "NOT_FOUND",
    )
    await connect(world, user)


async def test_a_broker_with_positions_only_exits(world: World, user: Api) -> None:
    broker_id = await connect(world, user)
    await make_position(world, await make_run(world, user, mode="live"))

    data = await user.data("DELETE", f"/config/brokers/{broker_id}")

    assert (data["open_positions"], data["status"]) == (1, "exit_only")
    assert data["warning"] == "Close positions before removing broker"
    [broker] = (await user.data("GET", "/config/brokers"))["brokers"]
    assert broker["status"] == "exit_only"
    assert await user.error("POST", "/config/brokers", json=KEYS) == (
        409,
        "BROKER_ALREADY_CONNECTED",
    )

    forced = await user.data("DELETE", f"/config/brokers/{broker_id}?force=true")
    assert (forced["status"], forced["open_positions"]) == ("removed", 1)
    audit = await world.sql(
        "SELECT meta FROM audit_log WHERE user_id = %(id)s AND event_type = 'broker_removed'"
        " ORDER BY at, meta->>'status' DESC",
        id=user.user_id,
    )
    assert {row["meta"]["forced"] for row in audit} == {False, True}


async def test_testing_keys_asks_for_all_prices_at_once(
    world: World, user: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public requests are everybody's, and a test may be repeated at any time."""
    coins = [f"C{n:02}" for n in range(60)]  # the fake market cuts symbols at three letters
    world.venues.market.prices |= {f"{coin}-USD": "1" for coin in coins}
    world.venues.accounts[KEY] = FakeVenueAccount(holds=dict.fromkeys(coins, "1") | {"USD": "1"})
    broker = await connect(world, user)
    asked: list[int] = []
    quotes = world.venues.market.quotes

    async def counted(symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        asked.append(len(symbols))
        return await quotes(symbols, at=at)

    monkeypatch.setattr(world.venues.market, "quotes", counted)

    await user.data("POST", f"/config/brokers/{broker}/test")

    assert asked == [60]
