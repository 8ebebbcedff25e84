from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from services import errors
from services.idempotency import LEASE, Claim, IdempotencyKeys
from tests.api.harness import Api, World

pytestmark = pytest.mark.integration


def key(value: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": value or uuid4().hex}


async def test_a_repeat_gets_the_first_answer(world: World, user: Api) -> None:
    headers = key()
    first = await user.call("POST", "/trading/start", json={}, headers=headers)
    world.clock.advance(hours=23)

    second = await user.call("POST", "/trading/start", json={}, headers=headers)

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(world.trading.calls) == 1


async def test_without_a_key_every_call_counts(world: World, user: Api) -> None:
    for _ in range(2):
        await user.data("POST", "/trading/start", json={})
    assert len(world.trading.calls) == 2


async def test_the_same_key_for_something_else(world: World, user: Api) -> None:
    headers = key()
    await user.data("POST", "/trading/start", json={}, headers=headers)

    conflict = (409, "IDEMPOTENCY_CONFLICT")
    other_body = {"paper_trading": True}
    assert await user.error("POST", "/trading/start", json=other_body, headers=headers) == conflict
    assert await user.error("POST", "/trading/stop", json={}, headers=headers) == conflict
    unknown = (422, "VALIDATION_ERROR")
    assert await user.error("POST", "/trading/start?x=1", json={}, headers=headers) == unknown
    assert len(world.trading.calls) == 1


async def test_keys_are_each_user_s_own(world: World, user: Api, other: Api) -> None:
    headers = key()
    for api in (user, other):
        await api.data("POST", "/trading/pause", headers=headers)
    assert len(world.trading.calls) == 2


async def test_keys_are_forgotten_after_a_day(world: World, user: Api) -> None:
    headers = key()
    await user.data("POST", "/trading/pause", headers=headers)
    world.clock.advance(hours=23)
    await user.log_in(user.email)
    world.clock.advance(hours=1, seconds=1)
    await user.data("POST", "/trading/pause", headers=headers)
    assert len(world.trading.calls) == 2


async def test_refusals_are_repeated_failures_are_not(world: World, user: Api) -> None:
    refused, failed = key(), key()
    world.trading.failure = errors.NotRunning()
    assert await user.error("POST", "/trading/pause", headers=refused) == (400, "NOT_RUNNING")
    world.trading.failure = errors.WorkflowUnavailable()
    assert await user.error("POST", "/trading/pause", headers=failed) == (
        503,
        "SERVICE_UNAVAILABLE",
    )
    world.trading.failure = None

    assert await user.error("POST", "/trading/pause", headers=refused) == (400, "NOT_RUNNING")
    await user.data("POST", "/trading/pause", headers=failed)


async def test_a_refused_token_or_body_uses_no_key_up(world: World, user: Api) -> None:
    headers = key()
    await user.error("POST", "/trading/start", json={"typo": 1}, headers=headers)
    await user.data("POST", "/trading/start", json={}, headers=headers)
    assert len(world.trading.calls) == 1


async def test_of_concurrent_duplicates_one_acts_and_all_get_its_answer(
    world: World, user: Api
) -> None:
    world.trading.pause_first = soon(0.2)
    headers = key()

    answers = await asyncio.gather(
        *(user.call("POST", "/trading/pause", headers=headers) for _ in range(5))
    )

    assert len({answer.content for answer in answers}) == 1
    assert len(world.trading.calls) == 1


async def test_a_duplicate_does_not_wait_for_ever(world: World, user: Api) -> None:
    world.trading.pause_first = soon(3)
    headers = key()
    first = asyncio.create_task(user.call("POST", "/trading/pause", headers=headers))
    await asyncio.sleep(0.2)

    assert await user.error("POST", "/trading/pause", headers=headers) == (
        409,
        "IDEMPOTENCY_CONFLICT",
    )
    assert (await first).status_code == 200


async def test_an_abandoned_request_is_taken_over(world: World, user: Api) -> None:
    headers = key("abandoned")
    await user.data("POST", "/trading/pause", headers=headers)
    # What a process that was killed in the middle leaves behind.
    await world.sql(
        "UPDATE idempotency_keys SET status_code = NULL, response = NULL WHERE user_id = %(id)s",
        id=user.user_id,
    )
    world.clock.advance(seconds=LEASE.total_seconds() + 1)

    await user.data("POST", "/trading/pause", headers=headers)

    assert len(world.trading.calls) == 2


async def test_what_leaves_positions_waits_only_seconds_for_an_attempt_that_died(
    world: World, user: Api
) -> None:
    headers = key("died")
    await user.data("POST", "/trading/pause", headers=headers)
    await world.sql(
        "UPDATE idempotency_keys SET status_code = NULL, response = NULL WHERE user_id = %(id)s",
        id=user.user_id,
    )
    repeated = asyncio.create_task(user.data("POST", "/trading/pause", headers=headers))
    await asyncio.sleep(0.2)

    world.clock.advance(seconds=7)

    await asyncio.wait_for(repeated, 5)
    assert len(world.trading.calls) == 2


async def test_a_request_that_goes_on_for_long_is_not_taken_over(world: World, user: Api) -> None:
    keys = IdempotencyKeys(world.database, world.clock, wait_seconds=0.2, renew_seconds=0.05)
    claim = await keys.claim(user.user_id, "long", "hash")
    assert isinstance(claim, Claim)

    async with keys.renewed(claim):
        for _ in range(3):
            world.clock.advance(seconds=LEASE.total_seconds() - 1)
            await asyncio.sleep(0.3)
            with pytest.raises(errors.IdempotencyConflict):
                await keys.claim(user.user_id, "long", "hash")

    world.clock.advance(seconds=LEASE.total_seconds() + 1)
    assert isinstance(await keys.claim(user.user_id, "long", "hash"), Claim)


@pytest.mark.parametrize("value", ["", "x" * 256, "tab\there"])
async def test_keys_have_a_form(user: Api, value: str) -> None:
    headers = {"Idempotency-Key": value}
    assert await user.error("POST", "/trading/pause", headers=headers) == (
        422,
        "VALIDATION_ERROR",
    )


async def test_old_keys_are_purged(world: World, user: Api) -> None:
    await user.data("POST", "/trading/pause", headers=key())
    world.clock.advance(hours=24)
    await world.idempotency.purge()
    rows = await world.sql(
        "SELECT id FROM idempotency_keys WHERE user_id = %(id)s", id=user.user_id
    )
    assert rows == []


def soon(seconds: float) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await asyncio.sleep(seconds)

    return wait
