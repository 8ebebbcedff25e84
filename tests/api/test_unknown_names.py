"""No call takes what it does not know: a name that does nothing may have been meant to matter."""

from __future__ import annotations

from typing import Any

import pytest

from api.kit.problem import FIELDS_MAX
from tests.api.harness import Api, World
from tests.api.test_openapi import operations

pytestmark = pytest.mark.integration

JSON = {"Content-Type": "application/json"}
SENT_BY_OTHERS = {"/webhooks/tradingview", "/webhooks/stripe"}
"""What these send is theirs to choose."""

STRICT = [it for it in operations() if it[1] not in SENT_BY_OTHERS]
CHANGING = [it for it in STRICT if it[0] != "get"]


@pytest.fixture
async def admin(world: World, user: Api) -> Api:
    await world.sql("UPDATE users SET role = 'admin' WHERE id = %(id)s", id=user.user_id)
    return user


def address(path: str) -> str:
    for name in ("position", "broker", "export", "channel", "session", "user"):
        path = path.replace(f"{{{name}_id}}", f"{name[:3]}_{'0' * 32}")
    return path


async def test_an_unknown_name_in_a_body_is_refused(world: World, admin: Api) -> None:
    for method, path, _ in CHANGING:
        answer = await admin.call(method.upper(), address(path), json={"surprise": 1})

        settings = (400, "INVALID_SETTING")
        expected = settings if path == "/config/settings" else (422, "VALIDATION_ERROR")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == expected, (method, path, answer.text)
        assert "surprise" in str(error["details"]), (method, path, answer.text)
    assert world.trading.calls == []


async def test_a_body_that_is_not_json_is_malformed(world: World, admin: Api) -> None:
    malformed = (400, "MALFORMED_BODY")
    bodies: tuple[dict[str, Any], ...] = (
        {"content": b'{"percent": ', "headers": JSON},
        {"content": b"\xff", "headers": JSON},
        {"content": b"[" * 50_000, "headers": JSON},
        {"content": b"percent=50", "headers": {"Content-Type": "text/plain"}},
        {"content": b'{"percent":50}'},
    )
    for method, path, operation in CHANGING:
        for body in bodies:
            answer = await admin.error(method.upper(), address(path), **body)
            assert answer == malformed, (method, path, body["content"][:20])
        assert "MALFORMED_BODY" in operation["responses"]["400"]["description"]
        assert "PAYLOAD_TOO_LARGE" in operation["responses"]["413"]["description"]
    assert world.trading.calls == []


async def test_an_unknown_name_in_a_query_is_refused(world: World, admin: Api) -> None:
    for method, path, operation in STRICT:
        body: Any = {} if method != "get" and "requestBody" in operation else None

        answer = await admin.call(method.upper(), f"{address(path)}?surprise=1", json=body)

        error = answer.json()["error"]
        expected = (422, "VALIDATION_ERROR")
        assert (answer.status_code, error["code"]) == expected, (method, path, answer.text)
        assert "surprise" in error["details"]["fields"], (method, path, answer.text)
        assert "VALIDATION_ERROR" in operation["responses"]["422"]["description"]
    assert world.trading.calls == []


async def test_nothing_may_be_sent_as_nothing(world: World, user: Api) -> None:
    for body in (b"", b"{}", b"null"):
        await user.data("POST", "/trading/pause", content=body, headers=JSON)
    assert [name for name, _ in world.trading.calls] == ["pause"] * 3


async def test_what_is_no_object_is_refused(world: World, user: Api) -> None:
    bodies: tuple[Any, ...] = ([], [1], "x", 7, True)
    for path in ("/trading/pause", "/trading/stop"):
        for body in bodies:
            assert await user.error("POST", path, json=body) == (422, "VALIDATION_ERROR")
    assert world.trading.calls == []


async def test_few_of_many_unknown_names_are_told(user: Api) -> None:
    answer = await user.call("POST", "/trading/pause", json={f"a{n}": 1 for n in range(1_000)})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    assert len(error["details"]["fields"]) == FIELDS_MAX


async def test_who_may_not_call_is_told_that_first(anyone: Api, user: Api) -> None:
    refused = (401, "TOKEN_INVALID")
    assert await anyone.error("POST", "/trading/pause", json={"surprise": 1}) == refused
    assert await anyone.error("GET", "/trading/status?surprise=1") == refused
    await user.data("POST", "/auth/logout")
    assert await user.error("POST", "/trading/pause", json={"surprise": 1}) == refused
    assert await user.error("GET", "/trading/status?surprise=1") == refused
