"""Taking alerts in: keys, plans, ages, repeats and limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from services.alerts.errors import WebhookKeyInvalid, WebhookNeedsPlan
from services.alerts.keys import REPLACED_MAX
from services.alerts.views import AlertFilter
from services.errors import (
    AccountSuspended,
    ExceedsTierLimit,
    InvalidRequest,
    ObjectNotFound,
    RateLimited,
)
from services.reads import Claims
from tests.alerts.harness import Desk
from tests.api.harness import ALERT_AGE as AGE
from tests.api.harness import ALERTS_A_MINUTE as A_MINUTE
from tests.support.traders import Trader, add_trader

pytestmark = pytest.mark.integration


@pytest.fixture
async def trader(desk: Desk) -> Trader:
    return await add_trader(desk.engine.database, now=desk.engine.wall.now())


@pytest.fixture
async def key(desk: Desk, trader: Trader) -> str:
    return await desk.key(trader)


async def test_an_alert_is_stored_with_the_trade_it_will_be(
    desk: Desk, trader: Trader, key: str
) -> None:
    receipt = await desk.send(key, size_usd=250, price="43210.5", strategy="APEX_V72", id="a1")

    (row,) = await desk.alerts(trader)
    assert row["id"] == row["trade_id"] == receipt.trade_id
    assert (row["state"], row["symbol"], row["action"]) == ("processing", "BTC-USD", "buy")
    assert (row["size_usd"], row["reference"]) == (250, "a1")
    assert row["expires_at"] - row["received_at"] == AGE
    assert [taken.alert_id for taken in desk.dispatch.taken] == [row["id"]]


async def test_the_key_is_kept_as_a_hash_only(desk: Desk, trader: Trader, key: str) -> None:
    rows = await desk.engine.rows(
        "SELECT * FROM webhook_keys WHERE user_id = :id", id=trader.user_id
    )

    assert key not in str(rows)
    assert key not in repr(await desk.keys.issue(trader.principal))


async def test_many_replays_at_once_are_one_alert(desk: Desk, trader: Trader, key: str) -> None:
    receipts = await asyncio.gather(*(desk.send(key, id="same") for _ in range(A_MINUTE)))

    assert len({receipt.trade_id for receipt in receipts}) == 1
    assert [receipt.is_duplicate for receipt in receipts].count(False) == 1
    states = [row["state"] for row in await desk.alerts(trader)]
    assert sorted(states) == ["duplicate"] * (A_MINUTE - 1) + ["processing"]
    assert len(desk.dispatch.taken) == 1


async def test_replays_with_two_keys_at_once_are_one_alert(
    desk: Desk, trader: Trader, key: str
) -> None:
    fresh = await desk.key(trader, overlap=timedelta(minutes=5))

    receipts = await asyncio.gather(
        *(desk.send(one, id="same") for one in (key, fresh) for _ in range(A_MINUTE // 2))
    )

    assert len({receipt.trade_id for receipt in receipts}) == 1
    assert len(desk.dispatch.taken) == 1


async def test_the_same_id_and_time_are_the_same_alert_for_ever(desk: Desk, key: str) -> None:
    raised = desk.engine.wall.now().isoformat()
    first = await desk.send(key, id="a1", time=raised, price=1)
    desk.engine.wall.advance(86_400)

    again = await desk.send(key, id="a1", time=raised, price=2)

    assert (again.trade_id, again.is_duplicate) == (first.trade_id, True)


async def test_the_same_id_without_a_time_is_the_same_alert_for_a_minute(
    desk: Desk, key: str
) -> None:
    first = await desk.send(key, id="Long Entry")
    desk.engine.wall.advance(59)
    within = await desk.send(key, id="Long Entry")
    desk.engine.wall.advance(1)
    after = await desk.send(key, id="Long Entry")

    assert (within.trade_id, within.is_duplicate) == (first.trade_id, True)
    assert not after.is_duplicate


async def test_the_same_body_is_the_same_alert_for_a_minute(desk: Desk, key: str) -> None:
    first = await desk.send(key, price=1)
    desk.engine.wall.advance(59)
    within = await desk.send(key, price=1)
    other = await desk.send(key, price=2)
    desk.engine.wall.advance(1)
    after = await desk.send(key, price=1)

    assert (within.trade_id, within.is_duplicate) == (first.trade_id, True)
    assert not other.is_duplicate
    assert not after.is_duplicate


async def test_another_user_may_use_the_same_id(desk: Desk, key: str) -> None:
    other = await add_trader(desk.engine.database, now=desk.engine.wall.now())
    first = await desk.send(key, id="a1")

    second = await desk.send(await desk.key(other), id="a1")

    assert not second.is_duplicate
    assert second.trade_id != first.trade_id


@pytest.mark.parametrize("key", [None, "", "nwk_short", "nwk_" + "A" * 43, "nwk_" + "\ud800" * 43])
async def test_without_a_good_key_nothing_is_stored(desk: Desk, key: str | None) -> None:
    before = await desk.engine.rows("SELECT count(*) AS n FROM alerts")

    with pytest.raises(WebhookKeyInvalid):
        await desk.send(key)  # type: ignore[arg-type]

    assert await desk.engine.rows("SELECT count(*) AS n FROM alerts") == before


async def test_a_replaced_key_ends_at_once_or_when_it_was_told_to(
    desk: Desk, trader: Trader, key: str
) -> None:
    second = await desk.key(trader)
    with pytest.raises(WebhookKeyInvalid):
        await desk.send(key)
    third = await desk.key(trader, overlap=timedelta(minutes=10))
    assert await desk.send(second, id="1")
    assert len(await desk.keys.list(trader.principal)) == 2
    desk.engine.wall.advance(600)

    with pytest.raises(WebhookKeyInvalid):
        await desk.send(second, id="2")
    assert await desk.send(third, id="3")
    assert len(await desk.keys.list(trader.principal)) == 1


async def test_a_revoked_key_is_none(desk: Desk, trader: Trader, key: str) -> None:
    await desk.keys.revoke(trader.principal)

    with pytest.raises(WebhookKeyInvalid):
        await desk.send(key)
    with pytest.raises(ObjectNotFound):
        await desk.keys.revoke(trader.principal)


async def test_two_keys_made_at_once_leave_one(desk: Desk, trader: Trader) -> None:
    await asyncio.gather(*(desk.keys.issue(trader.principal) for _ in range(4)))

    assert len(await desk.keys.list(trader.principal)) == 1


async def test_only_so_many_replaced_keys_are_good_at_once(desk: Desk, trader: Trader) -> None:
    overlap = timedelta(minutes=5)
    for _ in range(REPLACED_MAX + 1):
        await desk.keys.issue(trader.principal, overlap=overlap)
    before = await desk.keys.list(trader.principal)

    with pytest.raises(ExceedsTierLimit):
        await desk.keys.issue(trader.principal, overlap=overlap)

    assert await desk.keys.list(trader.principal) == before
    await desk.keys.issue(trader.principal)
    assert len(await desk.keys.list(trader.principal)) == 1


async def test_a_lower_plan_gets_no_key(desk: Desk) -> None:
    trader = await add_trader(desk.engine.database, tier="basic", now=desk.engine.wall.now())

    with pytest.raises(WebhookNeedsPlan):
        await desk.keys.issue(trader.principal)


async def test_a_lost_plan_refuses_alerts_and_says_so(desk: Desk, trader: Trader, key: str) -> None:
    await desk.engine.execute(
        "UPDATE users SET subscription_tier = 'free' WHERE id = :id", id=trader.user_id
    )

    with pytest.raises(WebhookNeedsPlan):
        await desk.send(key)

    (row,) = await desk.alerts(trader)
    assert (row["state"], row["reason"]) == ("refused", "subscription_required")
    assert row["trade_id"] is None
    assert desk.dispatch.taken == []


async def test_a_suspended_user_trades_by_no_alert(desk: Desk, trader: Trader, key: str) -> None:
    await desk.engine.execute(
        "UPDATE users SET status = 'suspended' WHERE id = :id", id=trader.user_id
    )

    with pytest.raises(AccountSuspended):
        await desk.send(key)

    assert [row["reason"] for row in await desk.alerts(trader)] == ["account_suspended"]


async def test_an_old_alert_is_stale(desk: Desk, trader: Trader, key: str) -> None:
    old = desk.engine.wall.now() - AGE - timedelta(seconds=1)

    with pytest.raises(InvalidRequest) as refusal:
        await desk.send(key, time=old.isoformat(), id="a1")

    assert "time" in str(refusal.value.details)
    assert [(row["state"], row["reason"]) for row in await desk.alerts(trader)] == [
        ("stale", "too_old")
    ]
    assert not (await desk.send(key, id="a1")).is_duplicate, "the stale one was not acted on"


async def test_a_late_repeat_of_a_taken_alert_is_a_duplicate(desk: Desk, key: str) -> None:
    time = desk.engine.wall.now().isoformat()
    first = await desk.send(key, time=time, id="a1")
    desk.engine.wall.advance(AGE.total_seconds() + 1)

    again = await desk.send(key, time=time, id="a1")

    assert (again.trade_id, again.is_duplicate) == (first.trade_id, True)


async def test_its_age_counts_from_when_it_was_raised(desk: Desk, trader: Trader, key: str) -> None:
    raised = desk.engine.wall.now() - timedelta(seconds=100)

    await desk.send(key, time=raised.isoformat())

    (row,) = await desk.alerts(trader)
    assert row["expires_at"] == raised + AGE


async def test_a_time_in_the_future_would_get_round_the_limit(desk: Desk, key: str) -> None:
    ahead = desk.engine.wall.now() + timedelta(seconds=61)

    with pytest.raises(InvalidRequest):
        await desk.send(key, time=ahead.isoformat())


async def test_what_was_wrong_can_be_looked_up(desk: Desk, trader: Trader, key: str) -> None:
    with pytest.raises(InvalidRequest):
        await desk.send(key, action="hold")

    (row,) = await desk.alerts(trader)
    assert (row["state"], row["reason"]) == ("refused", "invalid")
    assert list(row["details"]["fields"]) == ["action"]


async def test_the_limit_of_a_key_is_exact_and_moves_on(
    desk: Desk, trader: Trader, key: str
) -> None:
    waits: set[object] = set()

    async def one(number: int) -> bool:
        try:
            await desk.send(key, id=str(number))
        except RateLimited as refusal:
            waits.add(refusal.details["retry_after_seconds"])
            return False
        return True

    taken = await asyncio.gather(*(one(number) for number in range(A_MINUTE + 10)))

    assert taken.count(True) == A_MINUTE == len(await desk.alerts(trader))
    assert waits == {61}
    desk.engine.wall.advance(60)
    assert await one(1000)


async def test_users_see_their_own_alerts_only(desk: Desk, trader: Trader, key: str) -> None:
    other = await add_trader(desk.engine.database, now=desk.engine.wall.now())
    await desk.send(key)
    await desk.send(await desk.key(other), symbol="ETH-USD")

    page = await desk.views.page(trader.principal, AlertFilter(), page=1, per_page=50)
    everything = await desk.views.page(other.principal, AlertFilter(), page=1, per_page=50)

    assert [alert.symbol for alert in page.alerts] == ["BTC-USD"]
    assert [alert.symbol for alert in everything.alerts] == ["ETH-USD"]
    with pytest.raises(Exception, match="token"):
        await desk.views.page(Claims(trader.user_id, uuid4()), AlertFilter(), page=1, per_page=50)


async def test_alerts_survive_a_restarted_database(
    desk: Desk, urls: DatabaseUrls, key: str
) -> None:
    await desk.send(key, id="1")
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'nija%'"
        )

    assert not (await desk.send(key, id="2")).is_duplicate
