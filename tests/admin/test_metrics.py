"""The platform's figures: true over several processes, and by the formulas they name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.app import ApiOptions, attach_traffic, build_app
from domain.money import ZERO
from services.admin.metrics import revenue_of
from services.admin.traffic import BOUNDS_SECONDS, Traffic, percentile_seconds
from services.database import Database
from tests.api.harness import Api, World, open_client, register
from tests.api.seeding import make_position, make_run, watch_venue

pytestmark = pytest.mark.integration


async def subscribe(
    world: World,
    api: Api,
    *,
    days_ago: float,
    tier: str = "pro",
    interval: str = "monthly",
    status: str = "active",
    ended_days_ago: float | None = None,
) -> None:
    now = world.clock.now()
    ended = None if ended_days_ago is None else now - timedelta(days=ended_days_ago)
    await world.sql(
        "INSERT INTO subscriptions (id, user_id, status, tier, interval, started_at, ended_at,"
        " cancel_at_period_end, asked, answered, created_at) VALUES (%(id)s, %(user)s,"
        " %(status)s, %(tier)s, %(interval)s, %(started)s, %(ended)s, false, 0, 0, %(started)s)",
        id=uuid4(),
        user=api.user_id,
        status=status,
        tier=tier,
        interval=interval,
        started=now - timedelta(days=days_ago),
        ended=ended,
    )


async def figures(admin: Api) -> Any:
    return await admin.data("GET", "/admin/metrics")


async def test_revenue_is_counted_from_subscriptions(
    world: World, admin: Api, client: httpx.AsyncClient
) -> None:
    people = [await register(client) for _ in range(6)]
    await subscribe(world, people[0], days_ago=90)
    await subscribe(world, people[1], days_ago=60, tier="basic", interval="yearly")
    await subscribe(world, people[2], days_ago=45, tier="enterprise", status="past_due")
    await subscribe(world, people[3], days_ago=40, status="canceled", ended_days_ago=10)
    await subscribe(world, people[4], days_ago=90, status="canceled", ended_days_ago=50)
    await subscribe(world, people[5], days_ago=3, status="canceled", ended_days_ago=1)

    revenue = (await figures(admin))["revenue"]

    # 149 + 470 / 12 + 499; one of the four of thirty days ago is gone.
    assert revenue == {
        "mrr": 687.17,
        "arr": 8246.0,
        "churn_rate": 0.25,
        "paying_subscribers": 3,
    }


def test_revenue_of_nobody_is_nothing() -> None:
    nobody = revenue_of([], {"before": 0, "lost": 0})

    assert {nobody.mrr, nobody.arr, nobody.churn_rate} == {ZERO}


async def test_users_and_trading_are_counted_paper_beside_live(
    world: World, admin: Api, user: Api
) -> None:
    await watch_venue(world, BTC="7000")
    await make_position(world, await make_run(world, user))
    await world.sql("UPDATE users SET subscription_tier = 'pro' WHERE id = %(id)s", id=user.user_id)

    data = await figures(admin)

    assert data["users"] == {
        "total": 2,
        "active_today": 2,
        "free": 1,
        "basic": 0,
        "pro": 1,
        "enterprise": 0,
    }
    nothing = {
        "bots_running": 0,
        "total_positions": 0,
        "total_volume_24h": 0.0,
        "total_trades_24h": 0,
        "exits_failing": 0,
        "positions_without_keys": 0,
    }
    paper = data["trading"].pop("paper")
    assert data["trading"] == nothing
    assert (paper["bots_running"], paper["total_positions"]) == (1, 1)


async def test_rates_are_the_sum_over_all_processes(world: World, admin: Api) -> None:
    processes = [Traffic(world.database, world.clock) for _ in range(2)]
    for at, process in enumerate(processes):
        for _ in range(49):
            process.note(200, 0.020)
        process.note(500, 0.500 + at)
    world.clock.advance(seconds=100)
    for process in processes:
        process.note(200, 0.020)
        await process.write()
        await process.write()

    system = (await figures(admin))["system"]

    requests = 102
    rows = await world.sql("SELECT sum(requests) AS n, min(minute) AS first FROM api_minutes")
    elapsed = int((world.clock.now() - rows[0]["first"]).total_seconds())
    assert rows[0]["n"] == requests, "written twice, counted once"
    assert system["api_requests_per_second"] == pytest.approx(requests / elapsed, abs=0.01)
    assert system["avg_response_time_ms"] == pytest.approx(4000 / requests, abs=0.01)
    assert system["error_rate"] == pytest.approx(2 / requests, abs=0.0001)
    assert (system["p95_response_time_ms"], system["p99_response_time_ms"]) == (25, 500)
    assert system["api_processes"] == 2


async def test_what_could_not_be_written_is_kept(world: World) -> None:
    gone = Database("postgresql://x:x@127.0.0.1:1/x", "postgresql://x:x@127.0.0.1:1/x")
    traffic = Traffic(gone, world.clock)
    traffic.note(200, 0.01)
    await traffic._write_or_wait()
    world.clock.advance(minutes=2)
    traffic._database = world.database

    await traffic.write()
    await gone.close()

    rows = await world.sql("SELECT requests FROM api_minutes ORDER BY minute")
    assert [row["requests"] for row in rows] == [1, 0]
    assert [tally.requests for tally in traffic._minutes.values()] == [0], (
        "the old minute is done with"
    )


async def test_minutes_without_any_process_take_from_the_uptime(world: World, admin: Api) -> None:
    traffic = Traffic(world.database, world.clock)
    for minutes in (1, 1, 2):
        await traffic.write()
        world.clock.advance(minutes=minutes)
    await traffic.write()

    assert (await figures(admin))["system"]["uptime_pct"] == 75


async def test_the_edge_counts_every_answer(world: World) -> None:
    app = build_app(world, ApiOptions())
    traffic = Traffic(world.database, world.clock)
    attach_traffic(app, traffic)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/health")
        await client.get("/nowhere")
    async with open_client(world) as uncounted:
        await uncounted.get("/health")

    await traffic.write()

    (row,) = await world.sql("SELECT requests, buckets FROM api_minutes")
    assert row["requests"] == sum(row["buckets"]) == 2
    assert len(row["buckets"]) == len(BOUNDS_SECONDS) + 1


def test_a_percentile_is_the_bound_of_its_bucket() -> None:
    buckets = [0] * (len(BOUNDS_SECONDS) + 1)
    assert percentile_seconds(buckets, 0.99) == 0
    buckets[2], buckets[-1] = 98, 2

    assert percentile_seconds(buckets, 0.95) == BOUNDS_SECONDS[2]
    assert percentile_seconds(buckets, 0.99) == BOUNDS_SECONDS[-1]
