"""The pure rules of billing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.billing import (
    Payment,
    PlanChoice,
    Subscription,
    SubscriptionStatus,
    billed_until,
    entitled_plan,
    granted_tier,
    spread_refund,
)
from domain.plans import BillingInterval, Tier

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTHLY, YEARLY = BillingInterval.MONTHLY, BillingInterval.YEARLY
CENTS = st.integers(0, 500_000).map(lambda cents: Decimal(cents) / 100)
PRO = Subscription(
    id="sub_1",
    customer_id="cus_1",
    status=SubscriptionStatus.ACTIVE,
    choice=PlanChoice(Tier.PRO, MONTHLY),
    created_at=NOW,
    period_start=NOW,
    period_end=NOW + timedelta(days=31),
)


@pytest.mark.parametrize(
    ("new", "old", "is_upgrade"),
    [
        ((Tier.PRO, MONTHLY), (Tier.BASIC, YEARLY), True),
        ((Tier.PRO, YEARLY), (Tier.PRO, MONTHLY), True),
        ((Tier.PRO, MONTHLY), (Tier.PRO, YEARLY), False),
        ((Tier.PRO, MONTHLY), (Tier.PRO, MONTHLY), False),
        ((Tier.BASIC, YEARLY), (Tier.PRO, MONTHLY), False),
    ],
)
def test_what_an_upgrade_is(
    new: tuple[Tier, BillingInterval], old: tuple[Tier, BillingInterval], is_upgrade: bool
) -> None:
    assert PlanChoice(*new).is_upgrade_of(PlanChoice(*old)) is is_upgrade


def test_nothing_ends_a_plan_that_is_paid() -> None:
    assert billed_until(PRO, None) is None


def test_a_cancelled_plan_ends_with_its_period() -> None:
    assert billed_until(replace(PRO, cancel_at_period_end=True), None) == PRO.period_end


@pytest.mark.parametrize("status", [SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID])
def test_seven_days_after_a_failed_payment_the_plan_ends(status: SubscriptionStatus) -> None:
    late = replace(PRO, status=status)

    until = billed_until(late, NOW)

    assert until == NOW + timedelta(days=7)
    assert granted_tier(late, until, until - timedelta(seconds=1)) is Tier.PRO
    assert granted_tier(late, until, until) is Tier.FREE


@pytest.mark.parametrize("status", list(SubscriptionStatus))
def test_a_plan_holds_in_these_states_only(status: SubscriptionStatus) -> None:
    holds = {"active", "trialing", "past_due", "unpaid"}

    tier = granted_tier(replace(PRO, status=status), None, NOW)

    assert (tier is Tier.PRO) is (status.value in holds)


@given(tier=st.sampled_from(Tier), granted=st.sampled_from([None, *Tier]), hours=st.integers(-9, 9))
def test_the_end_of_what_was_billed_bounds_only_what_was_billed(
    tier: Tier, granted: Tier | None, hours: int
) -> None:
    plan = entitled_plan(
        tier,
        trial_ends_at=None,
        granted=granted,
        billed_until=NOW + timedelta(hours=hours),
        now=NOW,
    )

    assert plan.tier is (Tier.FREE if tier is granted and hours <= 0 else tier)


def test_a_trial_holds_whatever_was_billed() -> None:
    plan = entitled_plan(
        Tier.BASIC,
        trial_ends_at=NOW + timedelta(days=1),
        granted=Tier.BASIC,
        billed_until=NOW,
        now=NOW,
    )

    assert plan.tier is Tier.PRO


@given(CENTS, st.lists(st.tuples(CENTS, CENTS), max_size=5))
def test_a_refund_never_takes_more_than_there_is(
    value: Decimal, amounts: list[tuple[Decimal, Decimal]]
) -> None:
    payments = [
        Payment(f"pi_{number}", amount, refunded)
        for number, (amount, refunded) in enumerate(amounts)
    ]

    shares = spread_refund(value, payments)

    by_id = {payment.id: payment.refundable for payment in payments}
    assert all(0 < share.amount <= by_id[share.payment_id] for share in shares)
    assert sum(share.amount for share in shares) == min(value, sum(by_id.values()))
