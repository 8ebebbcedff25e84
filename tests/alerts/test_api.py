"""The calls about alerts over HTTP, as the contract shows them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import structlog

from adapters.embedded.postgres_roles import DatabaseUrls
from tests.api.harness import ALERT_AGE as AGE
from tests.api.harness import ALERTS_A_MINUTE as A_MINUTE
from tests.api.harness import PREFIX, Api, World, open_client, open_world, register

pytestmark = pytest.mark.integration

HOOK = "/webhooks/tradingview"
SAMPLE = {"symbol": "BTC-USD", "action": "buy", "price": 43210.50, "strategy": "APEX_V72"}


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    async with open_world(urls) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(world) as client:
        yield client


@pytest.fixture
async def user(client: httpx.AsyncClient) -> Api:
    return await register(client)


@pytest.fixture
async def key(user: Api) -> str:
    issued: str = (await user.data("POST", "/config/webhooks"))["webhook_key"]
    return issued


@pytest.fixture
def anyone(client: httpx.AsyncClient) -> Api:
    return Api(client)


async def test_the_contracts_call_is_answered_as_it_says(anyone: Api, user: Api, key: str) -> None:
    data = await anyone.data("POST", HOOK, json={**SAMPLE, "api_key": key})

    assert (data["received"], data["status"]) == (True, "processing")
    assert data["trade_id"].startswith("trd_")
    (signal,) = (await user.data("GET", "/account/signals"))["signals"]
    assert signal["trade_id"] == data["trade_id"]
    assert (signal["signal_id"], signal["status"]) == (data["signal_id"], "processing")
    assert (signal["price"], signal["strategy"]) == (43210.5, "APEX_V72")


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/json", None])
async def test_json_is_read_whatever_the_content_type_says(
    anyone: Api, key: str, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    body = json.dumps({**SAMPLE, "api_key": key}).encode()

    data = await anyone.data("POST", HOOK, content=body, headers=headers)

    assert data["status"] == "processing"


async def test_a_repeat_gets_the_first_trade(anyone: Api, user: Api, key: str) -> None:
    first = await anyone.data("POST", HOOK, json={**SAMPLE, "api_key": key})
    again = await anyone.data("POST", HOOK, json={**SAMPLE, "api_key": key})

    assert again == {**first, "status": "duplicate"}
    signals = (await user.data("GET", "/account/signals"))["signals"]
    assert {signal["duplicate_of"] for signal in signals} == {None, first["signal_id"]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("buy BTC now", 400, "MALFORMED_BODY"),
        ("[]", 400, "MALFORMED_BODY"),
        ("{}", 401, "TOKEN_INVALID"),
        ('{"api_key": "nwk_guessed"}', 401, "TOKEN_INVALID"),
        ('{"api_key": "KEY"}', 422, "VALIDATION_ERROR"),
        ('{"api_key": "KEY", "symbol": "BTC-USD", "action": "hold"}', 422, "VALIDATION_ERROR"),
    ],
)
async def test_refusals_have_the_contracts_codes(
    anyone: Api, key: str, body: str, status: int, code: str
) -> None:
    content = body.replace("KEY", key)

    answer = await anyone.call("POST", HOOK, content=content)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert key not in answer.text


async def test_an_old_alert_is_refused_and_listed(
    anyone: Api, user: Api, key: str, world: World
) -> None:
    time = (world.clock.now() - AGE - timedelta(seconds=1)).isoformat()

    refusal = await anyone.error("POST", HOOK, json={**SAMPLE, "api_key": key, "time": time})

    assert refusal == (422, "VALIDATION_ERROR")
    (signal,) = (await user.data("GET", "/account/signals?status=stale"))["signals"]
    assert (signal["reason"], signal["trade_id"]) == ("too_old", None)


async def test_without_the_plan_there_is_no_key_and_no_alert(
    anyone: Api, user: Api, key: str, world: World
) -> None:
    world.clock.advance(days=15)  # the trial is over
    await user.log_in(user.email)

    assert await user.error("POST", "/config/webhooks") == (402, "SUBSCRIPTION_REQUIRED")
    refusal = await anyone.error("POST", HOOK, json={**SAMPLE, "api_key": key})
    assert refusal == (402, "SUBSCRIPTION_REQUIRED")


async def test_a_key_has_a_limit_a_minute_and_says_so(anyone: Api, key: str) -> None:
    for number in range(A_MINUTE):
        answer = await anyone.call("POST", HOOK, json={**SAMPLE, "api_key": key, "id": number})
        assert answer.headers["x-ratelimit-remaining"] == str(A_MINUTE - 1 - number)

    answer = await anyone.call("POST", HOOK, json={**SAMPLE, "api_key": key, "id": "more"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(answer.headers["retry-after"]) <= 61


# --- keys ---------------------------------------------------------------------------------------


async def test_a_key_is_shown_once(user: Api, key: str) -> None:
    answer = await user.call("GET", "/config/webhooks")

    assert key not in answer.text
    (shown,) = answer.json()["data"]["webhooks"]
    assert shown["key_masked"] == f"nwk_***{key[-4:]}"
    assert (shown["url"], shown["last_used_at"]) == (f"{PREFIX}{HOOK}", None)


async def test_a_repeat_with_its_idempotency_key_does_not_show_it_again(user: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await user.data("POST", "/config/webhooks", headers=headers)

    again = await user.data("POST", "/config/webhooks", headers=headers)

    assert again["webhook_id"] == first["webhook_id"]
    assert first["webhook_key"].startswith("nwk_")
    assert first["webhook_key"] not in str(again)


async def test_replacing_and_revoking(anyone: Api, user: Api, key: str) -> None:
    second = await user.data("POST", "/config/webhooks", json={"overlap_minutes": 5})
    alert = {**SAMPLE, "api_key": key}
    assert await anyone.data("POST", HOOK, json=alert)

    await user.data("DELETE", "/config/webhooks")

    for one in (key, second["webhook_key"]):
        refusal = await anyone.error("POST", HOOK, json={**SAMPLE, "api_key": one})
        assert refusal == (401, "TOKEN_INVALID")
    assert await user.error("DELETE", "/config/webhooks") == (404, "NOT_FOUND")


@pytest.mark.parametrize("overlap", [-1, 1441, "5", 1.5, None])
async def test_an_overlap_has_a_range(user: Api, overlap: object) -> None:
    refusal = await user.error("POST", "/config/webhooks", json={"overlap_minutes": overlap})

    assert refusal == (422, "VALIDATION_ERROR")


async def test_a_key_never_gets_into_a_log(
    anyone: Api, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        await anyone.data("POST", HOOK, json={**SAMPLE, "api_key": key})
        await anyone.call("POST", f"{HOOK}?api_key={key}", content="{}")
        await anyone.call("POST", HOOK, content=json.dumps({"api_key": key}))

    assert logs
    assert key not in str(logs) + caplog.text


# --- the list -----------------------------------------------------------------------------------


async def test_the_list_is_paged_and_filtered(
    anyone: Api, user: Api, key: str, world: World
) -> None:
    for number, (symbol, action) in enumerate(
        [("BTC-USD", "buy"), ("ETH-USD", "buy"), ("ETH-USD", "close")]
    ):
        world.clock.advance(seconds=1)
        alert = {"symbol": symbol, "action": action, "id": number, "api_key": key}
        await anyone.data("POST", HOOK, json=alert)

    page = await user.data("GET", "/account/signals?per_page=2")
    assert [(one["symbol"], one["action"]) for one in page["signals"]] == [
        ("ETH-USD", "close"),
        ("ETH-USD", "buy"),
    ]
    assert page["pagination"]["total_items"] == 3
    assert page["pagination"]["has_next"]

    async def count(query: str) -> int:
        found = await user.data("GET", f"/account/signals?{query}")
        total: int = found["pagination"]["total_items"]
        return total

    today = world.clock.now().date()
    assert await count("symbol=eth-usd") == 2
    assert await count("action=close") == 1
    assert await count("status=processing") == 1
    assert await count("status=refused") == 2, "nothing is held; the buy before it was overtaken"
    assert await count("status=executed") == 0
    assert await count(f"start_date={today}&end_date={today}") >= 1
    assert await count("end_date=2020-01-01") == 0


@pytest.mark.parametrize("query", ["status=new", "page=0", "per_page=101", "action=hold", "x=1"])
async def test_a_wrong_question_is_named(user: Api, query: str) -> None:
    refusal = await user.error("GET", f"/account/signals?{query}")

    assert refusal == (422, "VALIDATION_ERROR")


async def test_another_users_alerts_are_not_there(
    anyone: Api, client: httpx.AsyncClient, key: str
) -> None:
    await anyone.data("POST", HOOK, json={**SAMPLE, "api_key": key})
    other = await register(client)

    assert (await other.data("GET", "/account/signals"))["signals"] == []
    assert (await other.data("GET", "/config/webhooks"))["webhooks"] == []


async def test_a_body_that_no_chart_sends_is_not_read(anyone: Api, user: Api, key: str) -> None:
    """Whoever it comes from: a megabyte of small numbers is half a second of work."""
    alert = {**SAMPLE, "api_key": key}
    long = {**alert, "note": "x" * 10_000}
    too_long = {**alert, "note": list(range(5_000))}

    assert await anyone.data("POST", HOOK, json=long)
    refused = await anyone.call("POST", HOOK, json=too_long)

    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert "16 KiB" in refused.json()["error"]["message"]
    assert len((await user.data("GET", "/account/signals"))["signals"]) == 1
