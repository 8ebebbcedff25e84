"""Upgrade, renew, fail, recover, cancel, refund, downgrade, and Stripe at its worst, end to end.

HTTP calls of a user, a stand-in that answers and charges as Stripe does, its signed events over
HTTP, and the workflows on a real Temporal server. Each test asserts the end state whole
(`Shop.stands`): tier, status, limits in force, every charge, every refund, the bills.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from tests.billing.harness import Till
from tests.billing.shop import PATIENCE, PAUSE_SECONDS, Shop, open_shop, wish
from tests.support.clocks import BEGAN
from tests.support.stripe_standin import DECLINES, WORKS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

HALF_OF_MARCH = 15.5
MARCH = 31
PRO, ENTERPRISE, BASIC = 149_00, 499_00, 49_00


@pytest.fixture
async def shop(urls: DatabaseUrls, till: Till, temporal_address: str) -> AsyncIterator[Shop]:
    async with open_shop(urls, till, temporal_address) as shop:
        yield shop


async def test_upgrade(shop: Shop) -> None:
    first = await shop.subscribe("basic")
    assert (first["amount"], first["amount_due_now"]) == (49, 49)
    await shop.stands("basic", "active", charges=[BASIC])

    await shop.pass_time(days=HALF_OF_MARCH)
    more = await shop.upgrade("pro")
    assert (more["amount"], more["proration_credit"], more["amount_due_now"]) == (149, -24.5, 50)
    await shop.stands("pro", "active", charges=[BASIC, 50_00])
    await shop.deliver_all()
    await shop.stands("pro", "active", charges=[BASIC, 50_00])


async def test_an_upgrade_that_is_declined_changes_nothing(shop: Shop) -> None:
    await shop.subscribe("basic")

    refused = await shop.user.error(
        "POST",
        "/subscription/upgrade",
        json=wish("pro", "monthly", shop.till.standin.add_card(DECLINES)),
    )

    assert refused == (402, "PAYMENT_FAILED")
    await shop.stands("basic", "active", charges=[BASIC])
    await shop.pass_time(days=MARCH, seconds=1)
    await shop.deliver_all()
    await shop.stands("basic", "active", charges=[BASIC, BASIC])


async def test_renew(shop: Shop) -> None:
    await shop.subscribe("pro")

    await shop.pass_time(days=MARCH, seconds=1)
    await shop.deliver_all()

    await shop.stands("pro", "active", charges=[PRO, PRO])
    assert (await shop.current())["current_period_start"] == "2026-04-01T12:00:00Z"
    assert (await shop.till.notices(shop.who)).count("subscription_renewed") == 1


async def test_a_renewal_that_nobody_told_us_of_is_found_by_the_timer(shop: Shop) -> None:
    await shop.subscribe("pro")

    await shop.pass_timer(BEGAN.replace(month=4))

    await shop.stands("pro", "active", charges=[PRO, PRO])
    assert (await shop.current())["current_period_start"] == "2026-04-01T12:00:00Z"


async def test_fail(shop: Shop) -> None:
    await shop.subscribe("pro")
    shop.till.standin.fail_the_card_of((await shop.till.row(shop.who))["customer_id"])

    await shop.pass_time(days=MARCH, hours=1)
    await shop.deliver_all()
    await shop.stands("pro", "past_due", charges=[PRO])
    ends = (await shop.till.row(shop.who))["billed_until"]
    assert ends == shop.till.wall.time.replace(microsecond=0) + timedelta(days=7)

    await shop.pass_timer(ends)
    await shop.stands("free", "past_due", charges=[PRO])
    told = await shop.till.notices(shop.who)
    assert [told.count(kind) for kind in ("payment_failed", "plan_lost")] == [1, 1]


async def test_recover_with_another_card(shop: Shop) -> None:
    await shop.subscribe("pro")
    shop.till.standin.fail_the_card_of((await shop.till.row(shop.who))["customer_id"])
    await shop.pass_time(days=MARCH, hours=1)
    await shop.deliver_all()
    await shop.pass_timer((await shop.till.row(shop.who))["billed_until"])
    await shop.stands("free", "past_due", charges=[PRO])

    await shop.user.data(
        "PUT",
        "/subscription/payment-method",
        json={"payment_method_id": shop.till.standin.add_card()},
    )

    await shop.stands("pro", "active", charges=[PRO, PRO])
    await shop.deliver_all()
    await shop.stands("pro", "active", charges=[PRO, PRO])


async def test_recover_by_a_later_attempt_of_stripes(shop: Shop) -> None:
    await shop.subscribe("pro")
    customer = (await shop.till.row(shop.who))["customer_id"]
    shop.till.standin.fail_the_card_of(customer)
    await shop.pass_time(days=MARCH, hours=1)
    await shop.deliver_all()
    await shop.stands("pro", "past_due", charges=[PRO])

    shop.till.standin._card_of(customer)._card_number = WORKS
    (subscription,) = shop.till.standin.subscriptions()
    await shop.till.provider.pay(subscription.latest_invoice, key="the next attempt")
    await shop.deliver_all()

    await shop.stands("pro", "active", charges=[PRO, PRO])
    assert (await shop.till.row(shop.who))["billed_until"] is None


@pytest.mark.parametrize("told", [True, False])
async def test_cancel_later(shop: Shop, told: bool) -> None:
    await shop.subscribe("pro")
    await shop.pass_time(days=3)

    cancelled = await shop.user.data("POST", "/subscription/cancel", json={})
    assert cancelled["cancel_at_period_end"]
    assert cancelled["refund_amount"] == 0
    await shop.deliver_all()
    await shop.stands("pro", "active", charges=[PRO])

    if told:
        await shop.pass_time(days=MARCH - 3, seconds=1)
        await shop.deliver_all()
    else:
        await shop.pass_timer(BEGAN.replace(month=4))
    await shop.stands("free", "canceled", charges=[PRO])


async def test_cancel_now_and_refund(shop: Shop) -> None:
    await shop.subscribe("pro")
    await shop.pass_time(days=HALF_OF_MARCH)

    cancelled = await shop.user.data(
        "POST", "/subscription/cancel", json={"cancel_immediately": True}
    )

    assert (cancelled["cancel_at_period_end"], cancelled["refund_amount"]) == (False, 74.5)
    await shop.stands("free", "canceled", charges=[PRO], refunds=[74_50])
    await shop.deliver_all()
    await shop.stands("free", "canceled", charges=[PRO], refunds=[74_50])


async def test_a_refund_gives_back_what_an_earlier_period_paid_for_the_present_one(
    shop: Shop,
) -> None:
    await shop.subscribe("pro")
    await shop.pass_time(days=HALF_OF_MARCH)
    more = await shop.upgrade("enterprise", "yearly")
    assert (more["proration_credit"], more["amount_due_now"]) == (-74.5, 4715.5)

    cancelled = await shop.user.data(
        "POST", "/subscription/cancel", json={"cancel_immediately": True}
    )

    assert cancelled["refund_amount"] == 4790
    await shop.stands("free", "canceled", charges=[PRO, 4715_50], refunds=[74_50, 4715_50])


@pytest.mark.parametrize("told", [True, False])
async def test_downgrade(shop: Shop, told: bool) -> None:
    await shop.subscribe("pro")
    await shop.pass_time(days=10)

    down = await shop.user.data("POST", "/subscription/downgrade", json={"tier": "basic"})
    assert down["effective_at"] == "2026-04-01T12:00:00Z"
    await shop.deliver_all()
    await shop.stands("pro", "active", charges=[PRO])

    if told:
        await shop.pass_time(days=MARCH - 10, seconds=1)
        await shop.deliver_all()
    else:
        await shop.pass_timer(BEGAN.replace(month=4))
    await shop.stands("basic", "active", charges=[PRO, BASIC])


async def test_a_downgrade_survives_an_upgrade_that_is_declined(shop: Shop) -> None:
    await shop.subscribe("pro")
    await shop.user.data("POST", "/subscription/downgrade", json={"tier": "basic"})

    refused = await shop.user.error(
        "POST",
        "/subscription/upgrade",
        json=wish("enterprise", "monthly", shop.till.standin.add_card(DECLINES)),
    )

    assert refused == (402, "PAYMENT_FAILED")
    await shop.pass_time(days=MARCH, seconds=1)
    await shop.deliver_all()
    await shop.stands("basic", "active", charges=[PRO, BASIC])


async def test_duplicated_and_reordered_events(shop: Shop) -> None:
    """A renewal fails, is paid, the plan goes up: told backwards, shuffled, and twice."""
    await shop.subscribe("basic")
    customer = (await shop.till.row(shop.who))["customer_id"]
    shop.till.standin.fail_the_card_of(customer)
    await shop.pass_time(days=MARCH, seconds=1)
    shop.till.standin._card_of(customer)._card_number = WORKS
    (subscription,) = shop.till.standin.subscriptions()
    await shop.till.provider.pay(subscription.latest_invoice, key="by hand")
    await shop.till.refreshing.refresh(shop.user.user_id)
    await shop.upgrade("enterprise")
    events = shop.till.fresh_events()
    kinds = {event["type"] for event in events}
    assert {"invoice.payment_failed", "invoice.payment_succeeded"} <= kinds
    charges = shop.till.standin.charges()
    assert charges[:2] == [BASIC, BASIC]
    assert len(charges) == 3

    await shop.deliver(*events[::-1])
    await shop.deliver(*events)  # the same ids: duplicates
    again = [event | {"id": f"evt_{uuid4().hex}"} for event in events]
    random.Random(7).shuffle(again)
    await shop.deliver(*again)

    await shop.stands("enterprise", "active", charges=charges)
    stored = await shop.till.rows(
        "SELECT count(*) AS n FROM stripe_events WHERE id = ANY(:ids)",
        ids=[event["id"] for event in events],
    )
    assert stored == [{"n": len(events)}]
    notices = await shop.till.notices(shop.who)
    told = [kind for kind in notices if kind.startswith(("payment", "subscription"))]
    assert len(told) == len(set(told)), "everything is told once"


async def test_a_forged_signature(shop: Shop) -> None:
    await shop.subscribe("basic")
    lie = json.loads(
        json.dumps(shop.till.standin.event("customer.subscription.created")).replace(
            "nija_basic_monthly", "nija_enterprise_monthly"
        )
    ) | {"id": f"evt_{uuid4().hex}"}

    refused = await shop.post(lie, secret="whsec_of_somebody_else")

    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "INVALID_SIGNATURE"
    assert await shop.till.rows("SELECT 1 FROM stripe_events WHERE id = :id", id=lie["id"]) == []
    await shop.stands("basic", "active", charges=[BASIC])
    await shop.deliver(lie)  # signed: still nothing but a reason to look
    await shop.stands("basic", "active", charges=[BASIC])


async def test_a_lost_answer_to_a_charge_is_asked_for_again(shop: Shop) -> None:
    shop.till.lose_answer("POST /v1/subscriptions")

    await shop.subscribe("pro")

    assert shop.till.standin.replays == 1
    await shop.stands("pro", "active", charges=[PRO])


async def test_a_charge_whose_answer_never_comes_is_finished_by_the_workflow(shop: Shop) -> None:
    body = wish("pro", "monthly", shop.till.standin.add_card())
    shop.till.fall_silent_after("POST /v1/subscriptions")
    assert await shop.user.error("POST", "/subscription/upgrade", json=body) == (
        503,
        "SERVICE_UNAVAILABLE",
    )
    assert shop.till.standin.charges() == [PRO]

    shop.till.proxy.loses_answers = False
    await shop.billing.wake_subscription(shop.user.user_id)
    for _ in range(PATIENCE):
        if (await shop.till.command(shop.who))["state"] == "done":
            break
        await asyncio.sleep(PAUSE_SECONDS)

    await shop.stands("pro", "active", charges=[PRO])
    assert (await shop.user.data("POST", "/subscription/upgrade", json=body))[
        "amount_due_now"
    ] == 149
    await shop.stands("pro", "active", charges=[PRO])


async def test_a_refund_whose_answer_never_comes_is_made_once(shop: Shop) -> None:
    await shop.subscribe("pro")
    await shop.pass_time(days=HALF_OF_MARCH)
    body = {"cancel_immediately": True}
    shop.till.fall_silent_after("POST /v1/refunds")
    assert (await shop.user.error("POST", "/subscription/cancel", json=body))[0] == 503

    shop.till.proxy.loses_answers = False
    cancelled = await shop.cancel_again(body)

    assert cancelled["refund_amount"] == 74.5
    await shop.stands("free", "canceled", charges=[PRO], refunds=[74_50])
