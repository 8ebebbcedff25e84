"""Upgrade, renew, fail, recover: end states right, one charge each."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.plans import Tier
from services.billing.errors import PaymentFailed
from services.errors import InvalidRequest
from tests.billing.harness import MONTHLY, YEARLY, Till
from tests.support.clocks import BEGAN
from tests.support.stripe_standin import DECLINES

pytestmark = pytest.mark.integration


async def test_a_first_upgrade_charges_the_price_once(till: Till) -> None:
    who = await till.add_user()

    upgraded = await till.upgrade(who, method=till.standin.add_card())

    assert till.standin.charges() == [149_00]
    assert upgraded.subscription_id == till.standin.subscriptions()[0].id
    assert upgraded.amount == upgraded.amount_due_now == 149
    assert upgraded.proration_credit == 0
    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("active", "pro")
    assert row["payment_method"]["last4"] == "4242"
    assert (await till.plan(who)).tier is Tier.PRO


async def test_events_of_an_upgrade_change_nothing_that_the_call_did_not(till: Till) -> None:
    who = await till.add_user()
    await till.upgrade(who, method=till.standin.add_card())
    before = await till.row(who)

    await till.deliver_all()

    after = await till.row(who)
    moving = {"asked", "answered", "looked_at"}
    assert {k: v for k, v in after.items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving
    }
    assert await till.notices(who) == ["plan_changed"]


async def test_a_higher_plan_is_prorated_and_paid_at_once(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    await till.pass_time(days=15.5)  # half of March

    upgraded = await till.upgrade(who, Tier.PRO)

    assert upgraded.proration_credit == Decimal("-24.50")
    assert upgraded.amount_due_now == Decimal("50.00")
    assert till.standin.charges() == [49_00, 50_00]
    assert (await till.row(who))["period_end"] == BEGAN.replace(month=4)


async def test_a_yearly_plan_begins_its_own_year(till: Till) -> None:
    who = await till.subscriber(Tier.PRO)
    await till.pass_time(days=15.5)

    upgraded = await till.upgrade(who, Tier.ENTERPRISE, YEARLY)

    assert upgraded.proration_credit == Decimal("-74.50")
    assert upgraded.amount_due_now == Decimal("4715.50")
    assert till.standin.charges() == [149_00, 4715_50]
    assert (await till.row(who))["period_end"] == till.wall.now().replace(year=2027, microsecond=0)


async def test_a_declined_card_leaves_nothing_behind(till: Till) -> None:
    who = await till.add_user()

    with pytest.raises(PaymentFailed, match="declined"):
        await till.upgrade(who, method=till.standin.add_card(DECLINES))

    assert till.standin.charges() == []
    assert till.standin.subscriptions() == []
    assert (await till.command(who))["state"] == "refused"
    await till.upgrade(who, method=till.standin.add_card())
    assert till.standin.charges() == [149_00]
    assert len(till.standin.customers()) == 1


async def test_a_declined_proration_leaves_the_old_plan(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)

    with pytest.raises(PaymentFailed):
        await till.upgrade(who, Tier.PRO, method=till.standin.add_card(DECLINES))

    row = await till.row(who)
    assert (row["tier"], row["subscription_tier"]) == ("basic", "basic")
    assert till.standin.charges() == [49_00]
    await till.refreshing.refresh(who.user_id)
    assert (await till.row(who))["payment_method"]["last4"] == "4242", "the card that works"


@pytest.mark.parametrize(
    ("tier", "interval"), [(Tier.PRO, MONTHLY), (Tier.BASIC, YEARLY), (Tier.FREE, MONTHLY)]
)
async def test_what_is_no_upgrade_is_refused(till: Till, tier: Tier, interval: object) -> None:
    who = await till.subscriber(Tier.PRO)
    await till.pass_time(days=2)

    with pytest.raises(InvalidRequest):
        await till.upgrade(who, tier, MONTHLY if interval is MONTHLY else YEARLY)

    assert till.standin.charges() == [149_00]


async def test_a_renewal_moves_the_period_and_closes_the_usage(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=31, seconds=5)

    await till.tending.tend(who.user_id)
    await till.deliver_all()

    row = await till.row(who)
    assert row["period_start"] == BEGAN.replace(month=4)
    assert (row["status"], row["subscription_tier"]) == ("active", "pro")
    assert till.standin.charges() == [149_00, 149_00]
    (period,) = await till.rows(
        "SELECT * FROM usage_periods WHERE user_id = :user", user=who.user_id
    )
    assert (period["period_start"], period["tier"]) == (BEGAN, "pro")
    assert await till.notices(who) == ["plan_changed", "subscription_renewed"]


async def test_a_failed_payment_keeps_the_plan_for_seven_days_and_then_ends_it(till: Till) -> None:
    who = await till.subscriber()
    row = await till.row(who)
    till.standin.fail_the_card_of(row["customer_id"])
    await till.pass_time(days=31, hours=1)
    await till.deliver_all()

    assert (await till.row(who))["status"] == "past_due"
    assert (await till.plan(who)).features.live_trading
    grace_ends = (await till.row(who))["billed_until"]
    assert grace_ends == till.wall.now().replace(microsecond=0) + timedelta(days=7)

    till.wall.time = grace_ends - timedelta(seconds=1)
    assert (await till.plan(who)).features.live_trading
    till.wall.time = grace_ends
    assert not (await till.plan(who)).features.live_trading, "at once, whoever looked already"

    await till.tending.tend(who.user_id)
    assert (await till.row(who))["subscription_tier"] == "free"
    assert await till.notices(who) == ["plan_changed", "payment_failed", "plan_lost"]
    assert till.standin.charges() == [149_00]


async def test_another_card_pays_what_is_overdue_and_brings_the_plan_back(till: Till) -> None:
    who = await till.subscriber()
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=39)
    await till.deliver_all()
    await till.tending.tend(who.user_id)
    assert (await till.row(who))["subscription_tier"] == "pro", "the grace began with the failure"
    await till.pass_time(days=8)
    await till.tending.tend(who.user_id)
    assert (await till.row(who))["subscription_tier"] == "free"

    await till.subscriptions.set_payment_method(who, till.standin.add_card())
    await till.deliver_all()

    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("active", "pro")
    assert row["billed_until"] is None
    assert till.standin.charges() == [149_00, 149_00]
    # Told in one transaction, so neither is the later one.
    assert sorted((await till.notices(who))[-2:]) == ["payment_recovered", "plan_changed"]


async def test_nothing_is_sold_to_somebody_who_owes(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=31, hours=1)
    await till.deliver_all()

    with pytest.raises(PaymentFailed, match="overdue"):
        await till.upgrade(who, Tier.PRO, method=till.standin.add_card())

    assert till.standin.charges() == [49_00]


async def test_nothing_is_sold_to_somebody_who_owes_and_of_whom_nobody_told_us(till: Till) -> None:
    """A later bill that is paid would make Stripe take the subscription for active again."""
    who = await till.subscriber(Tier.BASIC)
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=31, hours=1)
    assert (await till.row(who))["status"] == "active"

    with pytest.raises(PaymentFailed, match="overdue"):
        await till.upgrade(who, Tier.PRO, method=till.standin.add_card())

    assert till.standin.charges() == [49_00]
    assert (await till.command(who))["state"] == "refused"
