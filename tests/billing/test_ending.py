"""Cancel now and later, refund, downgrade, and taking each of them back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from aiohttp import web

from domain.plans import Tier
from services.billing.errors import NoSubscription
from services.errors import InvalidRequest
from tests.billing.harness import MONTHLY, YEARLY, Till
from tests.support.clocks import BEGAN
from tests.support.stripe_faults import answers
from tests.support.stripe_standin import Handler

pytestmark = pytest.mark.integration


async def test_cancelling_later_keeps_the_plan_to_the_end_of_the_period(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=3)

    cancelled = await till.subscriptions.cancel(who, immediately=False, reason="Too expensive")

    assert cancelled.cancel_at_period_end
    assert cancelled.access_until == BEGAN.replace(month=4)
    assert cancelled.refund_amount == 0
    assert (await till.plan(who)).tier is Tier.PRO
    view = await till.views.current(who)
    assert (view.next_billing_date, view.next_billing_amount) == (None, None)
    assert view.access_until == cancelled.access_until

    await till.pass_time(days=28, seconds=1)
    assert (await till.plan(who)).tier is Tier.FREE, "whether or not Stripe has told us yet"
    await till.deliver_all()

    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("canceled", "free")
    assert till.standin.charges() == [149_00]
    assert till.standin.refunds() == []
    assert await till.notices(who) == [
        "plan_changed",
        "cancellation_set",
        "subscription_ended",
        "plan_lost",
    ]


async def test_a_cancellation_can_be_taken_back_for_nothing(till: Till) -> None:
    who = await till.subscriber()
    await till.subscriptions.cancel(who, immediately=False)
    await till.pass_time(days=1)

    upgraded = await till.upgrade(who, Tier.PRO)

    assert upgraded.amount_due_now == 0
    assert not (await till.row(who))["cancel_at_period_end"]
    await till.pass_time(days=31)
    await till.deliver_all()
    assert (await till.row(who))["subscription_tier"] == "pro"
    assert till.standin.charges() == [149_00, 149_00]


async def test_cancelling_now_gives_the_unused_rest_back(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=15.5)

    cancelled = await till.subscriptions.cancel(who, immediately=True, reason="Bye")

    assert not cancelled.cancel_at_period_end
    assert till.wall.now() - cancelled.access_until < timedelta(seconds=1)
    assert cancelled.refund_amount == Decimal("74.50")
    assert till.standin.refunds() == [74_50]
    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("canceled", "free")
    await till.deliver_all()
    assert (await till.notices(who)).count("refunded") == 1
    assert till.standin.subscriptions()[0].cancellation_details["comment"] == "Bye"


async def test_a_refund_is_taken_from_every_payment_of_the_period(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    await till.upgrade(who, Tier.ENTERPRISE)  # at once: 499 in two payments, 49 and 450

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 499
    assert sorted(till.standin.refunds()) == [49_00, 450_00]


async def test_cancelling_in_arrears_refunds_nothing(till: Till) -> None:
    who = await till.subscriber()
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=32)
    await till.deliver_all()

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 0
    assert till.standin.refunds() == []
    assert (await till.row(who))["subscription_tier"] == "free"


async def test_a_refund_that_stripe_refuses_does_not_hide_that_the_plan_has_ended(
    till: Till,
) -> None:
    who = await till.subscriber(Tier.BASIC)
    await till.upgrade(who, Tier.ENTERPRISE)
    disputed = till.standin.payments()[0]
    refuse = answers(400, "charge_disputed")

    async def refuse_the_disputed(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_disputed = (await request.post())["payment_intent"] == disputed
        return await (refuse(request, handler) if is_disputed else handler(request))

    till.standin.faults["POST /v1/refunds"] = refuse_the_disputed

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 450
    assert till.standin.refunds() == [450_00]
    row, command = await till.row(who), await till.command(who)
    assert (row["status"], row["subscription_tier"]) == ("canceled", "free")
    assert (command["state"], command["result"]["refund_refused"]) == ("done", "49")


async def test_nothing_can_be_cancelled_twice(till: Till) -> None:
    who = await till.subscriber()
    first = await till.subscriptions.cancel(who, immediately=True)

    again = await till.subscriptions.cancel(who, immediately=True)

    assert again == first, "the same request says what it did"
    with pytest.raises(NoSubscription):
        await till.subscriptions.cancel(who, immediately=False)
    assert till.standin.refunds() == [149_00]


async def test_whoever_cancelled_may_come_back(till: Till) -> None:
    who = await till.subscriber()
    await till.subscriptions.cancel(who, immediately=True)
    await till.pass_time(days=1)

    await till.upgrade(who, Tier.BASIC)

    assert till.standin.charges() == [149_00, 49_00]
    assert len(till.standin.customers()) == 1
    await till.deliver_all()
    assert (await till.row(who))["subscription_tier"] == "basic"


async def test_a_downgrade_takes_effect_when_the_period_ends(till: Till) -> None:
    who = await till.subscriber(Tier.PRO)
    await till.pass_time(days=10)

    downgraded = await till.subscriptions.downgrade(who, tier=Tier.BASIC, interval=None)
    await till.deliver_all()

    assert downgraded.effective_at == BEGAN.replace(month=4)
    assert downgraded.amount == 49
    row = await till.row(who)
    assert (row["subscription_tier"], row["scheduled_tier"]) == ("pro", "basic")
    assert (await till.views.current(who)).next_billing_amount == 49
    assert till.standin.charges() == [149_00]

    await till.pass_time(days=21, seconds=1)
    await till.tending.tend(who.user_id)  # by the timer: no event has come

    row = await till.row(who)
    assert (row["subscription_tier"], row["scheduled_tier"]) == ("basic", None)
    assert till.standin.charges() == [149_00, 49_00]
    assert till.standin.refunds() == []


async def test_a_yearly_plan_goes_down_to_a_monthly_one_after_the_year(till: Till) -> None:
    who = await till.subscriber(Tier.PRO, YEARLY)

    await till.subscriptions.downgrade(who, tier=Tier.PRO, interval=MONTHLY)
    await till.pass_time(days=364)
    assert (await till.row(who))["interval"] == "yearly"
    await till.pass_time(days=2)
    await till.deliver_all()

    row = await till.row(who)
    assert (row["tier"], row["interval"]) == ("pro", "monthly")
    assert till.standin.charges() == [1430_00, 149_00]


async def test_another_downgrade_replaces_the_first(till: Till) -> None:
    who = await till.subscriber(Tier.ENTERPRISE)
    await till.subscriptions.downgrade(who, tier=Tier.PRO, interval=None)

    await till.subscriptions.downgrade(who, tier=Tier.BASIC, interval=None)

    assert (await till.row(who))["scheduled_tier"] == "basic"


async def test_a_downgrade_can_be_taken_back(till: Till) -> None:
    who = await till.subscriber(Tier.ENTERPRISE)
    await till.subscriptions.downgrade(who, tier=Tier.PRO, interval=None)

    await till.upgrade(who, Tier.ENTERPRISE)

    await till.pass_time(days=32)
    await till.deliver_all()
    assert (await till.row(who))["subscription_tier"] == "enterprise"
    assert till.standin.charges() == [499_00, 499_00]


async def test_a_downgrade_to_free_is_a_cancellation(till: Till) -> None:
    who = await till.subscriber()

    downgraded = await till.subscriptions.downgrade(who, tier=Tier.FREE, interval=None)

    assert downgraded.effective_at == BEGAN.replace(month=4)
    assert (await till.row(who))["cancel_at_period_end"]


async def test_a_higher_plan_is_no_downgrade(till: Till) -> None:
    who = await till.subscriber()

    with pytest.raises(InvalidRequest):
        await till.subscriptions.downgrade(who, tier=Tier.ENTERPRISE, interval=None)


async def test_without_a_subscription_there_is_nothing_to_end(till: Till) -> None:
    who = await till.add_user()

    with pytest.raises(NoSubscription):
        await till.subscriptions.cancel(who, immediately=True)
    with pytest.raises(NoSubscription):
        await till.subscriptions.downgrade(who, tier=Tier.BASIC, interval=None)
