"""A user leaves for good: the plan ends, the unused rest is refunded, the customer is forgotten."""

from __future__ import annotations

import pytest

from services.billing.forgetting import BillingForgetting
from tests.billing.harness import Till
from tests.support.stripe_faults import UNAVAILABLE, answers

pytestmark = pytest.mark.integration


def forgetting(till: Till) -> BillingForgetting:
    return BillingForgetting(till.database, till.provider, till.commands, till.refreshing)


async def test_a_paid_plan_ends_with_a_refund_and_the_customer_goes(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=10)

    assert await forgetting(till).forget(who.user_id)

    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("canceled", "free")
    (refund,) = till.standin.refunds()
    assert 0 < refund < 149_00
    assert till.standin.customers() == []
    events = await till.rows(
        "SELECT id FROM stripe_events WHERE customer_id = :customer", customer=row["customer_id"]
    )
    assert events == []


async def test_a_repeat_changes_nothing(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=10)
    assert await forgetting(till).forget(who.user_id)
    refunds = till.standin.refunds()

    assert await forgetting(till).forget(who.user_id)

    assert till.standin.refunds() == refunds


async def test_a_lost_answer_deletes_once_and_refunds_once(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=10)
    till.lose_answer("POST /v1/refunds")

    for _ in range(3):
        if await forgetting(till).forget(who.user_id):
            break

    assert len(till.standin.refunds()) == 1
    assert till.standin.customers() == []


async def test_a_provider_that_is_away_is_asked_again_later(till: Till) -> None:
    who = await till.subscriber()
    till.standin.faults["GET /v1/subscriptions"] = answers(UNAVAILABLE)

    assert not await forgetting(till).forget(who.user_id)
    assert (await till.row(who))["status"] == "active"

    till.standin.faults.clear()
    assert await forgetting(till).forget(who.user_id)


async def test_who_never_paid_has_nothing_to_forget(till: Till) -> None:
    who = await till.add_user()

    assert await forgetting(till).forget(who.user_id)
    assert await BillingForgetting(till.database, None, None, None).forget(who.user_id)


async def test_a_paid_plan_is_not_forgotten_without_the_provider(till: Till) -> None:
    who = await till.subscriber()

    assert not await BillingForgetting(till.database, None, None, None).forget(who.user_id)
