"""Commands whose effects would add up, repeated under their key when the first answer was lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from domain.markets import MarketRules
from models.trading import Position
from services.idempotency import LEASE
from services.orders.market_rules import rules_record
from services.trading.commands import TradingService
from tests.api.harness import REALM, Api, World
from tests.api.seeding import make_position, make_run, watch_venue

pytestmark = pytest.mark.integration

STEP = Decimal("0.0001")
RULES = MarketRules("BTC-USD", "BTC", "USD", STEP, Decimal("0.01"), STEP, Decimal(1), active=True)


@pytest.fixture
async def held(world: World, user: Api) -> Position:
    """A position of 0.5 BTC, and the real commands of trading behind the API."""
    world.trading = TradingService(  # type: ignore[assignment]
        world.database,
        world.venues,
        world.workflows,
        world.clock,
        realm=REALM,
    )
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    return await make_position(world, run, rules=rules_record(RULES))


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def closing(position: Position) -> str:
    return f"/account/positions/pos_{position.id.hex}/close"


async def lose_the_answer(world: World, user: Api) -> None:
    """What a process leaves behind that dies before it has kept the answer."""
    await world.sql(
        "UPDATE idempotency_keys SET status_code = NULL, response = NULL WHERE user_id = %(id)s",
        id=user.user_id,
    )
    world.clock.advance(seconds=LEASE.total_seconds() + 1)


async def asked_to_leave(world: World, position: Position) -> Decimal:
    rows = await world.sql(
        "SELECT coalesce(sum(quantity), 0) AS quantity FROM exit_requests"
        " WHERE position_id = %(id)s AND state = 'open'",
        id=position.id,
    )
    return rows[0]["quantity"]  # type: ignore[no-any-return]


async def test_a_partial_close_that_is_repeated_after_a_death_sells_once(
    world: World, user: Api, held: Position
) -> None:
    headers = key()
    first = await user.data("POST", closing(held), json={"percent": 50}, headers=headers)
    assert await asked_to_leave(world, held) == Decimal("0.25")
    await lose_the_answer(world, user)

    second = await user.data("POST", closing(held), json={"percent": 50}, headers=headers)

    assert second == first
    assert await asked_to_leave(world, held) == Decimal("0.25")


async def test_a_partial_close_whose_answer_could_not_be_kept_sells_once(
    world: World, user: Api, held: Position, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's other calls have all three connections for as long as a transaction waits for one:
    the call fails after its exit was committed, and is repeated."""
    monkeypatch.setattr("services.database.POOL_SECONDS", 0.3)
    headers = key()
    is_over, begun = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        async with world.database.for_user(user.user_id):
            await is_over.wait()

    others: list[asyncio.Task[None]] = []
    inform = world.workflows.signal_bot

    async def signal_bot(*args: Any) -> None:
        # Between the commit of the exit and the keeping of its answer.
        if not begun.is_set():
            begun.set()
            others.extend(asyncio.create_task(wait()) for _ in range(3))
            await asyncio.sleep(0.1)
        await inform(*args)

    monkeypatch.setattr(world.workflows, "signal_bot", signal_bot)
    first = await user.call("POST", closing(held), json={"percent": 50}, headers=headers)
    is_over.set()
    await asyncio.gather(*others)
    assert first.status_code >= 500, first.text
    world.clock.advance(seconds=LEASE.total_seconds() + 1)

    await user.data("POST", closing(held), json={"percent": 50}, headers=headers)

    assert await asked_to_leave(world, held) == Decimal("0.25")


async def test_a_partial_close_that_failed_once_it_was_committed_sells_once(
    world: World, user: Api, held: Position, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = key()

    async def fail(*_args: Any) -> None:
        raise RuntimeError("a defect after the commit")

    with monkeypatch.context() as broken:
        broken.setattr(world.workflows, "signal_bot", fail)
        first = await user.call("POST", closing(held), json={"percent": 50}, headers=headers)
    assert first.status_code == 500

    await user.data("POST", closing(held), json={"percent": 50}, headers=headers)  # at once

    assert await asked_to_leave(world, held) == Decimal("0.25")


async def test_without_a_key_and_with_another_one_a_part_is_another_part(
    world: World, user: Api, held: Position
) -> None:
    for headers in ({}, {}, key(), key()):
        await user.data("POST", closing(held), json={"quantity": 0.1}, headers=headers)

    assert await asked_to_leave(world, held) == Decimal("0.4")


async def test_a_key_that_was_forgotten_stands_for_another_part(
    world: World, user: Api, held: Position
) -> None:
    headers = key()
    await user.data("POST", closing(held), json={"quantity": 0.1}, headers=headers)
    world.clock.advance(hours=24, seconds=1)
    await user.log_in(user.email)

    await user.data("POST", closing(held), json={"quantity": 0.1}, headers=headers)

    assert await asked_to_leave(world, held) == Decimal("0.2")


async def test_a_close_is_answered_again_when_the_position_is_closed(
    world: World, user: Api, held: Position
) -> None:
    headers = key()
    first = await user.data("POST", closing(held), json={}, headers=headers)
    await world.sql(
        "UPDATE positions SET state = 'closed', open_quantity = 0, exit_quantity = 0.5,"
        " closed_at = now() WHERE id = %(id)s",
        id=held.id,
    )
    await lose_the_answer(world, user)

    second = await user.data("POST", closing(held), json={}, headers=headers)

    assert (second["status"], second["message"]) == (first["status"], first["message"])
    assert await user.error("POST", closing(held), json={}) == (404, "POSITION_NOT_FOUND")


async def test_an_account_is_reset_once(world: World, user: Api) -> None:
    headers = key()
    first = await user.data("POST", "/account/paper/reset", headers=headers)
    await world.sql(
        "UPDATE paper_balances SET total = 12000 WHERE user_id = %(id)s", id=user.user_id
    )
    await lose_the_answer(world, user)

    assert await user.data("POST", "/account/paper/reset", headers=headers) == first

    (cash,) = await world.sql(
        "SELECT total FROM paper_balances WHERE user_id = %(id)s", id=user.user_id
    )
    assert cash["total"] == 12000, "what was traded since is kept"


async def test_a_webhook_key_is_made_once_and_the_last_answer_has_its_secret(
    world: World, user: Api
) -> None:
    headers = key()
    body = {"overlap_minutes": 60}
    lost = await user.data("POST", "/config/webhooks", json=body, headers=headers)
    await lose_the_answer(world, user)

    told = await user.data("POST", "/config/webhooks", json=body, headers=headers)

    listed = await user.data("GET", "/config/webhooks")
    assert len(listed["webhooks"]) == 1
    alert = {"symbol": "BTC-USD", "action": "buy"}
    for secret, status in ((lost, 401), (told, 200)):
        sent = {**alert, "api_key": secret["webhook_key"]}
        assert (await user.call("POST", "/webhooks/tradingview", json=sent)).status_code == status


@pytest.mark.parametrize("overlap", [0, 60])
@pytest.mark.parametrize("is_revoked", [True, False])
async def test_a_repeat_answers_no_secret_that_no_key_has(
    world: World, user: Api, is_revoked: bool, overlap: int
) -> None:
    """The first answer was lost, and the key was revoked or replaced before the repeat."""
    headers = key()
    await user.data("POST", "/config/webhooks", headers=headers)
    if is_revoked:
        await user.data("DELETE", "/config/webhooks")
    else:
        await user.data("POST", "/config/webhooks", json={"overlap_minutes": overlap})
    await lose_the_answer(world, user)

    again = await user.error("POST", "/config/webhooks", headers=headers)

    assert again == (409, "IDEMPOTENCY_CONFLICT")
