"""Rate limits and usage as a client meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from psycopg import sql

from adapters.embedded.postgres_roles import DatabaseUrls
from api.app import ApiOptions
from domain.plans import PLANS, Tier
from tests.api.harness import PASSWORD, PREFIX, Api, World, open_client, open_world, register
from tests.limits.conftest import ADDRESSES

pytestmark = pytest.mark.integration

FREE = PLANS[Tier.FREE].limits.api_calls_per_minute
CLIENTS = 16


@pytest.fixture
async def api(limited: World) -> AsyncIterator[Api]:
    """A user of the free plan whose window is empty."""
    async with open_client(limited) as client:
        yield await free_user(limited, client)


async def free_user(world: World, client: httpx.AsyncClient) -> Api:
    api = await register(client)
    await world.sql("UPDATE users SET trial_ends_at = NULL WHERE id = %(id)s", id=api.user_id)
    return api


async def calls_of(world: World, api: Api) -> int:
    (row,) = await world.sql(
        "SELECT coalesce(sum(calls), 0)::int AS calls FROM api_call_counts"
        " WHERE user_id = %(id)s AND day = %(day)s",
        id=api.user_id,
        day=world.clock.now().astimezone(UTC).date(),
    )
    calls: int = row["calls"]
    return calls


async def test_headers_count_down_and_the_last_call_is_refused(limited: World, api: Api) -> None:
    began = int(limited.clock.now().timestamp())
    for n in range(FREE):
        answer = await api.call("GET", "/account/positions")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit"] == str(FREE)
        assert answer.headers["x-ratelimit-remaining"] == str(FREE - 1 - n)
        assert answer.headers["x-ratelimit-reset"] == str(began + 61)
        assert "retry-after" not in answer.headers

    refused = await api.call("GET", "/account/positions")

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "RATE_LIMITED"
    assert refused.json()["error"]["details"] == {"limit": FREE, "retry_after_seconds": 61}
    assert refused.headers["retry-after"] == "61"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert await calls_of(limited, api) == FREE


async def test_the_window_slides(limited: World, api: Api) -> None:
    for _ in range(FREE // 2):
        await api.data("GET", "/account/positions")
    limited.clock.advance(seconds=30)
    for _ in range(FREE - FREE // 2):
        await api.data("GET", "/account/positions")
    refused = await api.call("GET", "/account/positions")
    assert refused.headers["retry-after"] == "31"

    limited.clock.advance(seconds=31)
    answers = [await api.call("GET", "/account/positions") for _ in range(FREE // 2 + 1)]

    assert [answer.status_code for answer in answers] == [200] * (FREE // 2) + [429]
    assert answers[-1].headers["retry-after"] == "30"


async def test_limits_and_usage_are_exact_over_two_containers(
    urls: DatabaseUrls, limited: World, api: Api
) -> None:
    limit = PLANS[Tier.BASIC].limits.api_calls_per_minute
    await limited.sql(
        "UPDATE users SET subscription_tier = 'basic' WHERE id = %(id)s", id=api.user_id
    )
    async with open_world(urls, ADDRESSES) as second, open_client(second) as elsewhere:
        second.clock.moment = limited.clock.moment
        there = Api(elsewhere, api.token)

        async def client(number: int) -> list[int]:
            caller = (api, there)[number % 2]
            method, path = (("GET", "/account/history"), ("POST", "/trading/pause"))[number % 4 < 2]
            return [(await caller.call(method, path)).status_code for _ in range(5)]

        found = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    statuses = [status for one in found for status in one]

    assert statuses.count(200) == limit
    assert statuses.count(429) == CLIENTS * 5 - limit
    assert len(limited.trading.calls) + len(second.trading.calls) <= limit
    assert await calls_of(limited, api) == limit


async def test_a_refused_command_changes_nothing(limited: World, api: Api) -> None:
    for _ in range(FREE):
        await api.data("GET", "/auth/me")
    assert await api.error("POST", "/trading/pause") == (429, "RATE_LIMITED")
    assert limited.trading.calls == []


async def test_what_leaves_positions_is_never_refused(limited: World, api: Api) -> None:
    for _ in range(FREE):
        await api.data("GET", "/account/positions")
    unknown = "/account/positions/pos_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10/close"

    stopped = await api.call("POST", "/trading/stop", json={"close_positions": True})
    emergency = await api.call("POST", "/trading/emergency-stop", json={"close_positions": True})
    closed = await api.call("POST", unknown)

    assert [stopped.status_code, emergency.status_code, closed.status_code] == [200, 200, 200]
    assert emergency.headers["x-ratelimit-remaining"] == "0"
    assert "retry-after" not in emergency.headers
    entering = await api.call("POST", "/trading/start")
    assert entering.status_code == 429
    assert await calls_of(limited, api) == FREE


async def test_calls_that_fail_count(limited: World, api: Api) -> None:
    limited.trading.failure = RuntimeError("a defect")
    failing = [
        ("GET", "/account/history?per_page=0", 422),  # refused before anything is read
        ("GET", "/account/positions?broker=nowhere", 400),
        ("POST", "/account/positions/pos_1/close", 404),
        ("POST", "/trading/start?", 500),
        ("PUT", "/config/settings", 422),
    ]
    for n, (method, path, status) in enumerate(failing, 1):
        answer = await api.call(method, path, **({"json": {}} if "start" in path else {}))
        assert answer.status_code == status, answer.text
        assert answer.headers["x-ratelimit-remaining"] == str(FREE - n)
        assert await calls_of(limited, api) == n


async def test_a_read_that_breaks_counts(urls: DatabaseUrls, limited: World, api: Api) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for statement in ("REVOKE SELECT ON {} FROM nija_app", "GRANT SELECT ON {} TO nija_app"):
            owner.execute(sql.SQL(statement).format(sql.Identifier("decisions")))
            answer = await api.call("GET", "/trading/decisions")
            assert answer.status_code == (500 if "REVOKE" in statement else 200)
    assert await calls_of(limited, api) == 2
    assert answer.headers["x-ratelimit-remaining"] == str(FREE - 2)


async def test_a_session_that_ended_counts_nothing(limited: World, api: Api) -> None:
    await api.data("POST", "/auth/logout", json={})
    before = await calls_of(limited, api)
    answer = await api.call("GET", "/account/history?per_page=0")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_INVALID")
    assert "x-ratelimit-limit" not in answer.headers
    assert await calls_of(limited, api) == before


async def test_a_refused_caller_is_refused_before_the_body_is_judged(api: Api) -> None:
    for _ in range(FREE):
        await api.data("GET", "/auth/me")
    assert await api.error("GET", "/account/history?per_page=0") == (429, "RATE_LIMITED")


async def test_another_user_is_not_concerned(limited: World, api: Api) -> None:
    for _ in range(FREE + 1):
        await api.call("GET", "/auth/me")
    async with open_client(limited) as client:
        other = await register(client)
        assert (await other.call("GET", "/auth/me")).status_code == 200


async def test_logging_in_is_limited_by_address(limited: World) -> None:
    credentials = {"email": "nobody@example.com", "password": PASSWORD}
    options = ApiOptions(trusted_proxies=("127.0.0.1",))

    async with open_client(limited, options) as client:

        async def attempt(address: str) -> httpx.Response:
            return await client.post(
                f"{PREFIX}/auth/login", json=credentials, headers={"X-Forwarded-For": address}
            )

        first = [await attempt("203.0.113.7") for _ in range(ADDRESSES.auth + 1)]
        other = await attempt("203.0.113.8")
        plans = await client.get(
            f"{PREFIX}/subscription/plans", headers={"X-Forwarded-For": "203.0.113.7"}
        )

    assert [answer.status_code for answer in first] == [401] * ADDRESSES.auth + [429]
    assert first[-1].headers["retry-after"] == "61"
    assert other.headers["x-ratelimit-remaining"] == str(ADDRESSES.auth - 1)
    assert plans.headers["x-ratelimit-limit"] == str(ADDRESSES.public)
    assert plans.headers["x-ratelimit-remaining"] == str(ADDRESSES.public - 1)


async def test_operators_questions_and_stripe_are_not_limited(limited: World) -> None:
    async with open_client(limited) as client:
        for path in ("/health", "/ready", f"{PREFIX}/openapi.json"):
            assert "x-ratelimit-limit" not in (await client.get(path)).headers


async def test_switched_off_calls_are_counted_all_the_same(
    world: World, client: httpx.AsyncClient
) -> None:
    api = await free_user(world, client)
    statuses = await asyncio.gather(
        *(api.call("GET", "/account/positions") for _ in range(FREE * 3))
    )
    assert {answer.status_code for answer in statuses} == {200}
    assert "x-ratelimit-limit" not in statuses[0].headers
    assert await calls_of(world, api) == FREE * 3


async def test_a_call_belongs_to_the_day_it_was_made_on(limited: World, api: Api) -> None:
    limited.clock.moment = datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)
    await limited.sql(
        "UPDATE sessions SET expires_at = '2027-01-01' WHERE user_id = %(id)s", id=api.user_id
    )
    await limited.sql("DELETE FROM call_windows")
    api.token = limited.identity.access_tokens.issue(
        limited.identity.access_tokens.verify(api.token or "")
    )
    await api.data("GET", "/auth/me")
    limited.clock.advance(seconds=1)
    await api.data("GET", "/auth/me")
    rows = await limited.sql(
        "SELECT day::text, sum(calls)::int AS calls FROM api_call_counts"
        " WHERE user_id = %(id)s GROUP BY day ORDER BY day",
        id=api.user_id,
    )
    assert [(row["day"], row["calls"]) for row in rows] == [("2026-03-02", 1), ("2026-03-03", 1)]
