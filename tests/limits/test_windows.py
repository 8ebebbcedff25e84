"""The sliding window itself, and the plan that the database finds, beside the domain's."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import DictRow

from domain.billing import entitled_plan
from domain.plans import PLANS, Tier
from services.limits.allowance import Meter
from services.limits.policy import Door, subject_of, user_limits
from services.reads import Claims
from tests.api.harness import World, open_client, register

pytestmark = pytest.mark.integration

System = psycopg.AsyncConnection[DictRow]
KEPT = 61
CHANGE_PLAN = """
WITH person AS (
    UPDATE users SET subscription_tier = %(tier)s, trial_ends_at = %(trial_ends_at)s
    WHERE id = %(id)s
)
UPDATE subscriptions SET granted_tier = %(granted)s, billed_until = %(billed_until)s
WHERE user_id = %(id)s
"""


async def test_no_sixty_seconds_hold_more_calls_than_the_limit(system: System) -> None:
    random.seed(7)
    counts, second, at = [0] * KEPT, 1_000_000, 1_000_000
    taken: deque[int] = deque()
    for _ in range(600):
        at += random.choice([0, 0, 0, 1, 1, 7, 61, 300])
        limit = random.choice([3, 10, 10, 10])
        slid = await slide(system, counts, second, at, limit)
        while taken and taken[0] <= at - KEPT:
            taken.popleft()
        assert slid["is_taken"] is (len(taken) < limit)
        if slid["is_taken"]:
            taken.append(at)
        assert slid["remaining"] == max(limit - len(taken), 0)
        assert slid["resets_at"] == expected_reset(taken, limit)
        counts, second = slid["counts"], slid["second"]
        assert sum(counts) == len(taken)


async def slide(
    system: System, counts: list[int], second: int, at: int, limit: int
) -> Mapping[str, Any]:
    cursor = await system.execute(
        "SELECT * FROM slide_window(%s::int[], %s, %s, %s)", (counts, second, at, limit)
    )
    found = await cursor.fetchone()
    assert found is not None
    return found


def expected_reset(taken: deque[int], limit: int) -> int:
    """When enough calls are forgotten for one more to be let in, or for more than now."""
    gone = next(n for n in range(1, len(taken) + 1) if len(taken) - n < limit)
    second = list(taken)[gone - 1]
    return second + KEPT


async def test_a_clock_that_lags_forgets_nothing(system: System) -> None:
    slid = await slide(system, [0] * KEPT, 100, 100, 1)
    again = await slide(system, slid["counts"], 100, 40, 1)

    assert (again["is_taken"], again["second"], again["resets_at"]) == (False, 100, 161)


@pytest.mark.parametrize("role", ["user", "admin"])
@pytest.mark.parametrize("has_row", [True, False], ids=["billed", "never billed"])
async def test_the_limit_is_that_of_the_plan_that_holds(
    limited: World, system: System, role: str, has_row: bool
) -> None:
    """In every state of the rows the database finds the plan that the domain names."""
    async with open_client(limited) as client:
        person = await register(client)
    claims = limited.identity.access_tokens.verify(person.token or "")
    if has_row:
        await limited.sql(
            "INSERT INTO subscriptions"
            " (id, user_id, cancel_at_period_end, asked, answered, created_at)"
            " VALUES (%(id)s, %(id)s, false, 0, 0, %(at)s)",
            id=person.user_id,
            at=limited.clock.now(),
        )
    await limited.sql(
        "UPDATE users SET role = %(role)s WHERE id = %(id)s", id=person.user_id, role=role
    )
    now, tick, day = limited.clock.now(), timedelta(microseconds=1), timedelta(days=1)
    around = (None, now - day, now - tick, now, now + tick, now + day)
    granted_until = list(product((None, *Tier), around)) if has_row else [(None, None)]
    least = PLANS[Tier.ENTERPRISE if role == "admin" else Tier.FREE].limits.api_calls_per_minute
    for tier, (granted, billed_until), trial_ends_at in product(Tier, granted_until, around):
        await system.execute(
            CHANGE_PLAN,
            {
                "id": person.user_id,
                "tier": tier.value,
                "granted": None if granted is None else granted.value,
                "billed_until": billed_until,
                "trial_ends_at": trial_ends_at,
            },
        )
        plan = entitled_plan(
            tier,
            trial_ends_at=trial_ends_at,
            granted=granted,
            billed_until=billed_until,
            now=now,
        )
        expected = max(plan.limits.api_calls_per_minute, least)
        state = (tier, granted, billed_until, trial_ends_at)
        assert await limit_of(limited, system, claims) == expected, state


async def limit_of(world: World, system: System, claims: Claims) -> int:
    meter = Meter()
    await system.execute("DELETE FROM call_windows")
    await world.reads.principal(Claims(claims.user_id, claims.session_id, meter))
    assert meter.allowance is not None
    return meter.allowance.limit


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("testclient", "unknown"),
        (None, "unknown"),
    ],
)
def test_whom_an_address_stands_for(address: str | None, subject: str) -> None:
    assert subject_of(address) == subject


def test_every_limit_comes_from_the_plan_table() -> None:
    limits = user_limits()
    assert {tier: limits[tier.value] for tier in Tier} == {
        tier: plan.limits.api_calls_per_minute for tier, plan in PLANS.items()
    }


async def test_the_app_role_reads_no_address(limited: World) -> None:
    await limited.reads.admit_address(Door.AUTH, "203.0.113.9", Meter())
    with pytest.raises(errors.InsufficientPrivilege):
        await limited.reads.rows(limited.principal(uuid4()), "SELECT * FROM door_windows")
