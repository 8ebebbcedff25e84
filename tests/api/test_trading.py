from __future__ import annotations

from datetime import timedelta

import pytest

from services import errors
from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import decide, make_position, make_run, watch_venue

pytestmark = pytest.mark.integration


async def test_start(world: World, user: Api) -> None:
    body = {"broker": "Coinbase", "paper_trading": True, "risk_profile": "medium"}

    data = await user.data("POST", "/trading/start", json=body)

    assert data == {
        "status": "starting",
        "message": "Trading bot is starting",
        "estimated_ready_in_seconds": 10,
    }
    [(name, arguments)] = world.trading.calls
    assert name == "start"
    assert arguments == {
        "user_id": user.user_id,
        "broker": "coinbase",
        "paper_trading": True,
        "risk_profile": "medium",
    }


@pytest.mark.parametrize("body", [None, {}])
async def test_what_is_left_out_comes_from_the_settings(
    world: World, user: Api, body: dict[str, object] | None
) -> None:
    await user.data("POST", "/trading/start", json=body)
    assert world.trading.calls[0][1]["broker"] is None
    assert world.trading.calls[0][1]["paper_trading"] is None


async def test_stop(world: World, user: Api) -> None:
    data = await user.data("POST", "/trading/stop", json={"close_positions": True})

    assert data == {
        "status": "stopped",
        "message": "Trading bot stopped",
        "open_positions": 3,
        "action_required": "Manual position closure recommended",
    }
    assert world.trading.calls == [("stop", {"close_positions": True, "emergency": False})]


async def test_emergency_stop_and_release(world: World, user: Api) -> None:
    body = {"reason": "Market volatility", "close_positions": True}
    data = await user.data("POST", "/trading/emergency-stop", json=body)
    assert data == {
        "status": "emergency_stopped",
        "positions_closed": 3,
        "positions_closing": 0,
        "message": "Emergency stop activated",
    }
    released = await user.data("POST", "/trading/emergency-stop/release", json={"reason": "calm"})
    assert released["status"] == "stopped"
    assert [name for name, _ in world.trading.calls] == ["emergency_stop", "release"]
    assert world.trading.calls[0][1] == body


async def test_an_emergency_needs_no_words(world: World, user: Api) -> None:
    await user.data("POST", "/trading/emergency-stop")
    assert world.trading.calls[0][1]["close_positions"] is False


async def test_pause_and_resume(user: Api) -> None:
    assert (await user.data("POST", "/trading/pause"))["status"] == "paused"
    assert (await user.data("POST", "/trading/resume"))["status"] == "running"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (errors.AlreadyRunning(), (409, "ALREADY_RUNNING")),
        (errors.NotRunning(), (400, "NOT_RUNNING")),
        (errors.NoBrokerConfigured(), (400, "NO_BROKER_CONFIGURED")),
        (errors.SubscriptionRequired(), (402, "SUBSCRIPTION_REQUIRED")),
        (errors.KillSwitchActive(), (403, "KILL_SWITCH_ACTIVE")),
        (errors.PositionNotFound(), (404, "POSITION_NOT_FOUND")),
        (errors.UnsupportedBroker(), (400, "UNSUPPORTED_BROKER")),
        (errors.InvalidRiskLevel(), (400, "INVALID_RISK_LEVEL")),
        (errors.InvalidRequest({"stop_loss": "above"}), (422, "VALIDATION_ERROR")),
        (errors.VenueFailed(), (502, "BROKER_ERROR")),
        (errors.WorkflowUnavailable(), (503, "SERVICE_UNAVAILABLE")),
        (errors.DatabaseFailed(), (500, "DATABASE_ERROR")),
        (RuntimeError("a secret detail"), (500, "INTERNAL_ERROR")),
    ],
)
async def test_refusals_have_their_code(
    world: World, user: Api, failure: Exception, expected: tuple[int, str]
) -> None:
    world.trading.failure = failure
    answer = await user.call("POST", "/trading/start")
    assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"broker": 7},
        {"paper_trading": "false"},
        {"paper_trading": 0},
        {"risk_profil": "high"},
        {"broker": "x" * 51},
        [],
        "start",
    ],
)
async def test_nonsense_starts_nothing(world: World, user: Api, body: object) -> None:
    assert await user.error("POST", "/trading/start", json=body) == (422, "VALIDATION_ERROR")
    assert world.trading.calls == []


async def test_status_before_the_first_start(user: Api) -> None:
    status = await user.data("GET", "/trading/status")

    assert status["status"] == "stopped"
    assert (status["uptime_seconds"], status["active_positions"], status["today_trades"]) == (
        0,
        0,
        0,
    )
    for name in ("broker", "last_scan", "next_scan", "last_error", "kill_switch", "run_id"):
        assert status[name] is None
    assert (status["paper_trading"], status["realm"]) == (True, "simulated")


async def test_status_of_a_running_bot(world: World, user: Api) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    await make_position(world, run)
    await make_position(world, run, symbol="ETH-USD", opened_at=VENUE_NOW - timedelta(days=1))
    world.clock.advance(hours=1)

    status = await user.data("GET", "/trading/status")

    expected = {
        "status": "running",
        "uptime_seconds": 3600,
        "broker": "coinbase",
        "paper_trading": True,
        "last_scan": "2018-04-04T12:00:00Z",
        "next_scan": "2018-04-04T12:02:30Z",
        "active_positions": 2,
        "today_trades": 1,
        "last_error": None,
        "mode": "paper",
        "run_state": "entering",
        "config_hash": "hash",
        "code_version": "1",
    }
    assert {name: status[name] for name in expected} == expected


async def test_status_shows_what_blocks_entries(world: World, user: Api, other: Api) -> None:
    await world.sql(
        "INSERT INTO kill_switches (id, scope, user_id, reason, engaged_at)"
        " VALUES (gen_random_uuid(), 'user', %(user)s, 'too hot', now())",
        user=user.user_id,
    )
    assert (await user.data("GET", "/trading/status"))["kill_switch"]["reason"] == "too hot"
    assert (await other.data("GET", "/trading/status"))["kill_switch"] is None


async def test_decisions_are_the_latest_of_each_pair(world: World, user: Api) -> None:
    run = await make_run(world, user)
    await decide(world, run, "BTC-USD", minutes=10, reason="old")
    await decide(world, run, "BTC-USD", minutes=5, reason="ADX below 20")
    await decide(world, run, "ETH-USD", minutes=5, reason="no volume")

    found = (await user.data("GET", "/trading/decisions"))["decisions"]

    assert [(item["symbol"], item["reason"]) for item in found] == [
        ("BTC-USD", "ADX below 20"),
        ("ETH-USD", "no volume"),
    ]
    assert found[0]["score"] == 2
    assert found[0]["filter"] == {"long": {"adx": False}, "short": {}}
    assert found[0]["gates"] == [{"name": "score", "passed": False}]

    pair = (await user.data("GET", "/trading/decisions?symbol=btc-usd"))["decisions"]
    assert [item["reason"] for item in pair] == ["ADX below 20", "old"]
    assert len((await user.data("GET", "/trading/decisions?limit=1"))["decisions"]) == 1
    assert await user.error("GET", "/trading/decisions?limit=0") == (422, "VALIDATION_ERROR")


async def test_no_decisions_before_the_first_run(user: Api) -> None:
    assert (await user.data("GET", "/trading/decisions"))["decisions"] == []


async def test_a_failing_exit_is_the_last_error_until_it_is_through(
    world: World, user: Api
) -> None:
    run = await make_run(world, user)
    await world.sql("UPDATE bots SET last_error = 'A scan failed'")
    position = await make_position(
        world, run, exit_state="failing", exit_error="The venue says no", exit_attempts=3
    )

    status = await user.data("GET", "/trading/status")
    assert status["last_error"] == "BTC-USD: the exit fails: The venue says no"

    await world.sql(
        "UPDATE positions SET exit_state = 'no_keys', exit_error = 'Nothing can be sold'"
        " WHERE id = %(id)s",
        id=position.id,
    )
    assert (await user.data("GET", "/trading/status"))["last_error"] == (
        "BTC-USD: Nothing can be sold"
    )
    await world.sql("UPDATE positions SET exit_state = NULL WHERE id = %(id)s", id=position.id)
    assert (await user.data("GET", "/trading/status"))["last_error"] == "A scan failed"
