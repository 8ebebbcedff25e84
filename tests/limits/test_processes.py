"""Sixteen clients at once over two real API processes: counted exactly, limited exactly."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import psycopg
import pytest

from domain.plans import PLANS, Tier
from tests.support.up import RunningStack, running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CLIENTS, CALLS = 16, 25


def test_limits_and_usage_are_exact_over_two_processes() -> None:
    with running_stack(NIJA_RATE_LIMITS="on", NIJA_API_PROCESSES="2") as stack:
        person = stack.register("many@nija.example")
        statuses = asyncio.run(rush(stack, person.headers))

        limit = PLANS[Tier.PRO].limits.api_calls_per_minute  # the trial's
        assert statuses == Counter({200: limit, 429: CLIENTS * CALLS - limit})
        assert calls_counted(stack) == limit


async def rush(stack: RunningStack, headers: dict[str, str]) -> Counter[int]:
    """Every client on connections of its own, which the two processes share."""
    url = f"{stack.run['api_url']}/api/v1"
    paths = ("/account/positions", "/account/history", "/auth/me", "/subscription/usage")

    async def client(number: int) -> list[int]:
        async with httpx.AsyncClient(headers=headers, timeout=30) as http:
            return [
                (await http.get(url + paths[(number + n) % len(paths)])).status_code
                for n in range(CALLS)
            ]

    found = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return Counter(status for one in found for status in one)


def calls_counted(stack: RunningStack) -> int:
    with psycopg.connect(stack.run["system_database_url"]) as connection:
        row = connection.execute("SELECT sum(calls)::int FROM api_call_counts").fetchone()
    assert row is not None
    calls: int = row[0]
    return calls
