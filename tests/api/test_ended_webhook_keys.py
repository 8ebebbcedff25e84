"""Alerts that were waiting when the key they came with was ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from tests.api.harness import Api, World
from tests.api.seeding import make_run

pytestmark = pytest.mark.integration

WAITING = 8


@pytest.fixture
async def key(world: World, user: Api) -> str:
    run = await make_run(world, user)
    assert run.state == "entering"
    return (await user.data("POST", "/config/webhooks"))["webhook_key"]  # type: ignore[no-any-return]


@asynccontextmanager
async def waiting_alerts(
    world: World, user: Api, key: str
) -> AsyncIterator[Sequence[asyncio.Task[Any]]]:
    """Alerts of a flood: one waits for the key's row, the others for it, until the end."""

    def alert(number: int) -> asyncio.Task[Any]:
        body = {"symbol": "BTC-USD", "action": "buy", "id": str(number), "api_key": key}
        return asyncio.create_task(user.call("POST", "/webhooks/tradingview", json=body))

    async with await psycopg.AsyncConnection.connect(world.urls.system) as blocker:
        # Stands for whatever delays the storing of one alert: a storm, a slow disk, a checkpoint.
        await blocker.execute(
            "SELECT 1 FROM webhook_keys WHERE user_id = %s FOR UPDATE", (user.user_id,)
        )
        alerts = [alert(number) for number in range(WAITING)]
        await asyncio.sleep(0.3)
        yield alerts
        await blocker.rollback()


async def statuses(alerts: Sequence[asyncio.Task[Any]]) -> list[int]:
    return [(await task).status_code for task in alerts]


async def took(world: World, user: Api) -> int:
    (row,) = await world.sql(
        "SELECT count(*) AS alerts FROM alerts WHERE user_id = %(id)s", id=user.user_id
    )
    return row["alerts"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("seconds", [3, 0], ids=["later", "at the same moment"])
@pytest.mark.parametrize("method", ["DELETE", "POST"], ids=["revoked", "replaced"])
async def test_no_alert_is_taken_once_the_end_of_its_key_was_answered(
    world: World, user: Api, key: str, method: str, seconds: int
) -> None:
    async with waiting_alerts(world, user, key) as alerts:
        world.clock.advance(seconds=seconds)
        ending = asyncio.create_task(user.call(method, "/config/webhooks"))
        await asyncio.sleep(0.3)
    ended = await ending
    assert ended.status_code == 200, ended.text
    before = await took(world, user)
    assert before < WAITING, "there was nothing left to be refused"

    assert sorted(await statuses(alerts)) == [200] * before + [401] * (WAITING - before)
    assert await took(world, user) == before


async def test_an_alert_that_overtook_the_end_of_its_key_by_a_slow_clock_is_not_taken(
    world: World, user: Api, key: str
) -> None:
    """The clock of the process that takes alerts is behind that of the one that ended the key."""
    world.clock.advance(seconds=60)
    await user.data("DELETE", "/config/webhooks")
    world.clock.advance(seconds=-30)

    body = {"symbol": "BTC-USD", "action": "buy", "api_key": key}
    assert (await user.call("POST", "/webhooks/tradingview", json=body)).status_code == 401


async def test_no_alert_is_taken_that_waited_until_its_replaced_key_was_over(
    world: World, user: Api, key: str
) -> None:
    await user.data("POST", "/config/webhooks", json={"overlap_minutes": 1})
    async with waiting_alerts(world, user, key) as alerts:
        world.clock.advance(seconds=61)

    first, *others = await statuses(alerts)
    assert first == 200, "it was judged while the key was good"
    assert set(others) == {401}
    assert await took(world, user) == 1
