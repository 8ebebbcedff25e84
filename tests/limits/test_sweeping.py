"""What time does to counters, keys and warnings."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import select

from domain.plans import PLANS, Tier
from models.people import User
from services.billing.usage import calls_limit
from services.limits.sweeping import COUNTS_KEPT, EVERY, LimitSweep
from tests.api.harness import Api, World, open_client, register

pytestmark = pytest.mark.integration


@pytest.fixture
async def api(client: httpx.AsyncClient) -> Api:
    return await register(client)


def sweeper(world: World) -> LimitSweep:
    return LimitSweep(world.database, world.idempotency, world.clock)


async def count(world: World, api: Api, calls: int, *, days_ago: int = 0, shard: int = 1) -> None:
    await world.sql(
        "INSERT INTO api_call_counts (user_id, day, shard, calls)"
        " VALUES (%(id)s, %(day)s, %(shard)s, %(calls)s)"
        " ON CONFLICT (user_id, day, shard) DO UPDATE SET calls = excluded.calls",
        id=api.user_id,
        day=world.clock.now().astimezone(UTC).date() - timedelta(days=days_ago),
        shard=shard,
        calls=calls,
    )


async def counts(world: World, api: Api) -> list[tuple[int, int, int]]:
    today = world.clock.now().astimezone(UTC).date()
    rows = await world.sql(
        "SELECT day, shard, calls FROM api_call_counts WHERE user_id = %(id)s ORDER BY day, shard",
        id=api.user_id,
    )
    return [((today - row["day"]).days, row["shard"], row["calls"]) for row in rows]


async def test_past_days_are_added_up_and_old_ones_forgotten(world: World, api: Api) -> None:
    await count(world, api, 5, days_ago=COUNTS_KEPT.days + 1, shard=0)
    await count(world, api, 7, days_ago=1, shard=0)
    await count(world, api, 3, days_ago=1, shard=2)
    await count(world, api, 4, days_ago=1, shard=9)
    await count(world, api, 6, days_ago=0, shard=3)

    for _ in range(2):
        await sweeper(world).sweep()
        assert await counts(world, api) == [(1, 0, 14), (0, 3, 6)]


async def test_windows_and_keys_that_are_over_are_forgotten(limited: World) -> None:
    async with open_client(limited) as client:
        api = await register(client)
        await api.data("POST", "/trading/pause", headers={"Idempotency-Key": "first"})
    kept = """
    SELECT (SELECT count(*) FROM call_windows WHERE user_id = %(id)s) AS users,
           (SELECT count(*) FROM door_windows) AS doors,
           (SELECT count(*) FROM idempotency_keys WHERE user_id = %(id)s) AS keys
    """
    sweep = sweeper(limited)
    await sweep.sweep()
    assert await limited.sql(kept, id=api.user_id) == [{"users": 1, "doors": 1, "keys": 1}]

    limited.clock.advance(hours=25)
    await sweep.sweep()
    assert await limited.sql(kept, id=api.user_id) == [{"users": 0, "doors": 0, "keys": 0}]


async def test_somebody_near_a_limit_is_told_once_a_period(world: World, api: Api) -> None:
    limit = calls_limit(PLANS[Tier.PRO])  # the trial's
    sweep = sweeper(world)
    await count(world, api, limit * 8 // 10 - 1)
    await sweep.sweep()
    assert await told(world, api) == []

    await count(world, api, limit * 8 // 10)
    for _ in range(3):
        world.clock.advance(seconds=EVERY.total_seconds())
        await sweep.sweep()
    assert await told(world, api) == [
        {"what": "API calls", "used": limit * 8 // 10, "limit": limit}
    ]


async def test_a_user_who_cannot_be_told_keeps_no_other_from_it(
    world: World, client: httpx.AsyncClient
) -> None:
    locked, other = sorted([await register(client), await register(client)], key=_user_id)
    for api in (locked, other):
        await count(world, api, calls_limit(PLANS[Tier.PRO]))
    async with world.database.as_system() as session:
        await session.exec(select(User).where(User.id == locked.user_id).with_for_update())

        await sweeper(world).sweep()

    assert (len(await told(world, locked)), len(await told(world, other))) == (0, 1)


def _user_id(api: Api) -> UUID:
    return api.user_id


async def test_nothing_is_done_between_two_times(world: World, api: Api) -> None:
    sweep = sweeper(world)
    await sweep.sweep()
    await count(world, api, 1, days_ago=1, shard=2)
    await sweep.sweep()
    assert (1, 2, 1) in await counts(world, api)


async def told(world: World, api: Api) -> list[dict[str, Any]]:
    rows = await world.sql(
        "SELECT facts FROM notices WHERE user_id = %(id)s AND kind = 'limit_near'",
        id=api.user_id,
    )
    return [row["facts"] for row in rows]
