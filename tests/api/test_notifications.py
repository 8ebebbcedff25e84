"""Notifications over HTTP: channels, preferences, what was told, and the page behind mails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from services.notices import NoticeKind, tell
from tests.api.harness import Api, World
from tests.support.notifications import Hook, web_server

pytestmark = pytest.mark.integration

CHANNELS = "/config/notifications/channels"


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with web_server() as hook:
        yield hook


async def add(user: Api, hook: Hook, **fields: object) -> str:
    body = {"name": "Phone", "url": hook.url, **fields}
    return str((await user.data("POST", CHANNELS, json=body))["channel_id"])


async def test_a_channel_from_birth_to_death(user: Api, hook: Hook) -> None:
    body = {"name": "Phone", "url": hook.url, "categories": ["alerts", "trades"]}
    made = await user.call("POST", CHANNELS, json=body, headers={"Idempotency-Key": "one"})
    again = await user.call("POST", CHANNELS, json=body, headers={"Idempotency-Key": "one"})
    channel = made.json()["data"]
    path = f"{CHANNELS}/{channel['channel_id']}"

    assert again.json()["data"] == channel
    assert channel["address_masked"] == "json://127.0.0.1/***"
    assert channel["categories"] == ["trades", "alerts"]
    assert await user.data("POST", f"{path}/test") == {"status": "sent", "error": None}
    changed = await user.data("PATCH", path, json={"enabled": False})
    assert (changed["enabled"], changed["name"]) == (False, "Phone")
    listed = await user.call("GET", "/config/notifications")
    assert listed.json()["data"]["channels"] == [changed]
    for answer in (made, again, listed):
        assert "s3cr3t" not in answer.text
    await user.data("DELETE", path)
    assert (await user.data("GET", "/config/notifications"))["channels"] == []
    assert len(hook.bodies) == 1


async def test_another_users_channel_is_not_found(user: Api, other: Api, hook: Hook) -> None:
    path = f"{CHANNELS}/{await add(user, hook)}"

    not_found = (404, "NOT_FOUND")
    assert await other.error("PATCH", path, json={"enabled": False}) == not_found
    for method, where in (("DELETE", path), ("POST", f"{path}/test")):
        assert await other.error(method, where) == not_found
    assert await other.error("DELETE", f"{CHANNELS}/chn_nonsense") == (404, "NOT_FOUND")
    assert (await other.data("GET", "/config/notifications"))["channels"] == []
    assert hook.bodies == []


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "syslog://localhost"},
        {"url": ""},
        {"categories": []},
        {"categories": ["account"]},
        {"name": ""},
        {"surprise": True},
    ],
)
async def test_a_wrong_channel_is_refused_without_repeating_it(
    user: Api, hook: Hook, fields: dict[str, object]
) -> None:
    body = {"name": "Phone", "url": hook.url, **fields}

    answer = await user.call("POST", CHANNELS, json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert "s3cr3t" not in answer.text


async def test_a_name_is_taken_once(user: Api, hook: Hook) -> None:
    await add(user, hook)

    found = await user.error("POST", CHANNELS, json={"name": "Phone", "url": hook.url})

    assert found == (409, "CHANNEL_NAME_TAKEN")


async def test_preferences(user: Api) -> None:
    before = (await user.data("GET", "/config/notifications"))["preferences"]
    wishes = {"timezone": "Asia/Tokyo", "report_time": "21:45", "weekly_day": "sunday"}

    after = await user.data("PUT", "/config/notifications", json=wishes)

    assert before == {
        "timezone": "UTC",
        "report_time": "08:00",
        "weekly_day": "monday",
        "mail_address": user.email,
        "mail_available": False,
    }
    assert after == before | wishes
    for wrong in ({"timezone": "Mars"}, {"report_time": "24:00"}, {"weekly_day": "someday"}):
        found = await user.error("PUT", "/config/notifications", json=wrong)
        assert found == (422, "VALIDATION_ERROR")


async def test_without_a_mail_server_a_test_mail_says_so(user: Api) -> None:
    result = await user.data("POST", "/config/notifications/test")

    assert result["status"] == "failed"
    assert "mail server" in result["error"]


async def test_what_was_told_is_listed_with_what_became_of_it(
    user: Api, other: Api, world: World, hook: Hook
) -> None:
    await add(user, hook)
    async with world.database.for_user(user.user_id) as session:
        for reason in ("first", "second"):
            await tell(
                session,
                user.user_id,
                NoticeKind.EMERGENCY_STOP,
                uuid4().hex,
                now=world.clock.now() if reason == "first" else datetime(2035, 1, 1, tzinfo=UTC),
                facts={"reason": reason},
            )
    before = await user.data("GET", "/account/notifications?per_page=1")
    await world.notifying.delivering.deliver(user.user_id)

    after = await user.data("GET", "/account/notifications")

    assert [one["status"] for one in before["notifications"]] == ["new"]
    assert before["pagination"]["total_items"] >= 2
    told = [one for one in after["notifications"] if one["kind"] == "emergency_stop"]
    assert [one["status"] for one in told] == ["sent", "sent"]
    assert told[0]["text"] == "No new position is opened until you release it."
    assert told[0]["figures"] == [{"name": "Reason", "value": "second"}]
    assert told[0]["position_id"] is None
    (delivery,) = told[0]["deliveries"]
    assert (delivery["channel"], delivery["status"], delivery["attempts"]) == ("Phone", "sent", 1)
    listed = await other.data("GET", "/account/notifications")
    assert all(one["kind"] != "emergency_stop" for one in listed["notifications"])


async def test_the_page_behind_a_mail_asks_first_and_then_unsubscribes(
    user: Api, world: World, client: httpx.AsyncClient
) -> None:
    url = world.notifying.unsubscribing.url(user.user_id, "weekly_report")

    async def is_on() -> bool:
        settings = await user.data("GET", "/config/settings")
        return bool(settings["notifications"]["weekly_report"])

    asked = await client.get(url)
    still_on = await is_on()
    done = await client.post(url, content="List-Unsubscribe=One-Click")
    again = await client.post(url)

    assert (asked.status_code, done.status_code, again.status_code) == (200, 200, 200)
    assert "<form method=" in asked.text
    assert still_on
    assert not await is_on()
    for page in (asked, done):
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http" not in page.text


@pytest.mark.parametrize("token", ["", "nonsense", "A" * 90, "%00"])
async def test_a_forged_link_does_nothing(client: httpx.AsyncClient, token: str) -> None:
    for method in ("GET", "POST"):
        answer = await client.request(method, f"/unsubscribe?token={token}")
        assert answer.status_code == 404
        assert "does not work" in answer.text
