"""Answers that get lost, processes that die, requests that come twice: one effect each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.plans import Tier
from services.billing import commands
from services.billing.errors import (
    BillingBusy,
    BillingNotSetUp,
    BillingOutcomeUnknown,
    BillingUnavailable,
    PaymentFailed,
)
from services.billing.subscriptions import Subscriptions
from services.errors import WorkflowUnavailable
from tests.billing.harness import MONTHLY, Till
from tests.support.stripe_faults import answers, never_arrives

pytestmark = pytest.mark.integration

SUBSCRIBE = "POST /v1/subscriptions"


async def test_a_lost_answer_to_the_charge_is_asked_for_again_under_its_key(till: Till) -> None:
    who = await till.add_user()
    till.lose_answer(SUBSCRIBE)

    upgraded = await till.upgrade(who, method=till.standin.add_card())

    assert upgraded.amount_due_now == 149
    assert till.standin.charges() == [149_00]
    assert till.standin.replays == 1
    assert till.standin.writes.count(SUBSCRIBE) == 1


@pytest.mark.parametrize(
    "write",
    [
        "POST /v1/customers",
        "POST /v1/payment_methods/{card}/attach",
        "POST /v1/customers/{customer}",
    ],
)
async def test_a_lost_answer_before_the_charge_costs_nothing(till: Till, write: str) -> None:
    who = await till.add_user()
    card = till.standin.add_card()
    customer = ""
    if "{customer}" in write:
        customer = await till.provider.create_customer(
            who.user_id, email="a@example.com", name="A", key="one"
        )
    till.lose_answer(write.format(card=card, customer=customer))

    await till.upgrade(who, method=card)

    assert till.standin.charges() == [149_00]
    assert len(till.standin.customers()) == 1


async def test_a_lost_answer_to_a_proration(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    (subscription,) = till.standin.subscriptions()
    till.lose_answer(f"POST /v1/subscriptions/{subscription.id}")

    upgraded = await till.upgrade(who, Tier.PRO)

    assert upgraded.amount_due_now == 100
    assert till.standin.charges() == [49_00, 100_00]


@pytest.mark.parametrize("write", ["DELETE /v1/subscriptions/{id}", "POST /v1/refunds"])
async def test_a_lost_answer_while_cancelling(till: Till, write: str) -> None:
    who = await till.subscriber()
    (subscription,) = till.standin.subscriptions()
    till.lose_answer(write.format(id=subscription.id))

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 149
    assert till.standin.refunds() == [149_00]
    assert (await till.row(who))["status"] == "canceled"


async def test_a_lost_answer_while_setting_the_end(till: Till) -> None:
    who = await till.subscriber()
    write = f"POST /v1/subscriptions/{till.standin.subscriptions()[0].id}"
    till.lose_answer(write)

    cancelled = await till.subscriptions.cancel(who, immediately=False)

    assert cancelled.cancel_at_period_end
    assert till.standin.writes.count(write) == till.standin.replays == 1
    await till.pass_time(days=31, seconds=1)
    await till.deliver_all()
    assert (await till.row(who))["status"] == "canceled"
    assert (till.standin.charges(), till.standin.refunds()) == ([149_00], [])


@pytest.mark.parametrize("for_good", [False, True])
async def test_a_lost_answer_to_the_payment_of_what_is_overdue(till: Till, for_good: bool) -> None:
    who = await till.subscriber()
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=31, hours=1)
    await till.deliver_all()
    card = till.standin.add_card()
    payment = f"POST /v1/invoices/{till.standin.subscriptions()[0].latest_invoice}/pay"
    if for_good:
        await _never_hear_of(till, payment, till.subscriptions.set_payment_method(who, card))
        till.standin.answers.clear()
        till.wall.advance(days=2)
        await till.tending.tend(who.user_id)
    else:
        till.lose_answer(payment)
        await till.subscriptions.set_payment_method(who, card)

    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("active", "pro")
    assert till.standin.charges() == [149_00, 149_00]
    assert (await till.command(who))["state"] == "done"


@pytest.mark.parametrize(
    "write", ["POST /v1/subscription_schedules", "POST /v1/subscription_schedules/{id}"]
)
async def test_a_lost_answer_while_downgrading(till: Till, write: str) -> None:
    who = await till.subscriber()
    if "{id}" in write:
        # Only Stripe knows the id beforehand, so the second write after the first one is lost.
        def lose_the_second() -> None:
            (schedule,) = [one.schedule for one in till.standin.subscriptions()]
            till.lose_answer(write.format(id=schedule))

        till.standin.afterwards["POST /v1/subscription_schedules"] = lose_the_second
    else:
        till.lose_answer(write)

    await till.subscriptions.downgrade(who, tier=Tier.BASIC, interval=None)

    assert (await till.row(who))["scheduled_tier"] == "basic"
    assert till.standin.writes.count("POST /v1/subscription_schedules") == 1
    assert till.standin.replays >= 1


async def _never_hear_of(till: Till, write: str, act: Awaitable[object]) -> None:
    """The write is carried out; then nobody hears anything any more, for longer than we ask."""
    carried_out = till.standin.writes.count(write)
    till.fall_silent_after(write)
    with pytest.raises(BillingOutcomeUnknown):
        await act
    assert till.standin.writes.count(write) == carried_out + 1
    till.proxy.loses_answers = False


async def test_an_unknown_charge_is_found_by_the_timer(till: Till) -> None:
    who = await till.add_user()
    await _never_hear_of(till, SUBSCRIBE, till.upgrade(who, method=till.standin.add_card()))
    assert (await till.command(who))["state"] == "open"
    till.standin.answers.clear()  # Stripe forgets keys
    till.wall.advance(days=2)

    tended = await till.tending.tend(who.user_id)

    command = await till.command(who)
    assert command["state"] == "done"
    assert command["result"]["amount_due_now"] == "149"
    assert till.standin.charges() == [149_00]
    assert (await till.row(who))["subscription_tier"] == "pro"
    assert tended.wait_seconds is not None


async def test_a_card_that_is_gone_since_does_not_hide_an_unknown_charge(till: Till) -> None:
    who = await till.add_user()
    card = till.standin.add_card()
    await _never_hear_of(till, SUBSCRIBE, till.upgrade(who, method=card))
    gone = answers(400, "resource_missing")
    till.standin.faults[f"POST /v1/payment_methods/{card}/attach"] = gone

    await till.tending.tend(who.user_id)

    assert (await till.command(who))["state"] == "done"
    assert (await till.row(who))["subscription_tier"] == "pro"
    assert till.standin.charges() == [149_00]


async def test_what_came_before_a_charge_that_was_never_made_is_put_back(till: Till) -> None:
    """A scheduled downgrade is let go and another card chosen; then Stripe is silent too long."""
    who = await till.subscriber(Tier.PRO)
    await till.subscriptions.downgrade(who, tier=Tier.BASIC, interval=None)
    (subscription,) = till.standin.subscriptions()
    till.standin.faults[f"POST /v1/subscriptions/{subscription.id}"] = never_arrives
    with pytest.raises(BillingOutcomeUnknown):
        await till.upgrade(who, Tier.ENTERPRISE, method=till.standin.add_card("4111111111111111"))
    assert subscription.schedule is None
    till.standin.faults.clear()
    till.wall.advance(minutes=11)

    await till.tending.tend(who.user_id)

    assert (await till.command(who))["state"] == "refused"
    await till.refreshing.refresh(who.user_id)
    row = await till.row(who)
    assert (row["scheduled_tier"], row["payment_method"]["last4"]) == ("basic", "4242")
    await till.pass_time(days=31)
    assert till.standin.charges() == [149_00, 49_00]


async def test_a_worker_that_is_quicker_than_the_request_leaves_the_command_to_it(
    till: Till,
) -> None:
    who = await till.add_user()
    till.workflows.at_waking = till.tending.tend

    upgraded = await till.upgrade(who, method=till.standin.add_card())

    assert upgraded.amount_due_now == 149
    assert till.standin.charges() == [149_00]
    assert (await till.command(who))["attempts"] == 1, "the worker left it alone"


async def test_asking_again_after_an_unknown_charge_does_not_charge_again(till: Till) -> None:
    who = await till.add_user()
    card = till.standin.add_card()
    await _never_hear_of(till, SUBSCRIBE, till.upgrade(who, method=card))

    upgraded = await till.upgrade(who, method=card)

    assert upgraded.amount_due_now == 149
    assert till.standin.charges() == [149_00]


async def test_an_unknown_proration_is_found_without_its_key(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    change = f"POST /v1/subscriptions/{till.standin.subscriptions()[0].id}"
    await _never_hear_of(till, change, till.upgrade(who, Tier.PRO))
    till.standin.answers.clear()

    upgraded = await till.upgrade(who, Tier.PRO)

    assert upgraded.amount_due_now == 100
    assert till.standin.charges() == [49_00, 100_00]


async def test_an_unknown_refund_is_found_without_its_key(till: Till) -> None:
    who = await till.subscriber()
    await till.pass_time(days=15.5)
    await _never_hear_of(till, "POST /v1/refunds", till.subscriptions.cancel(who, immediately=True))
    till.standin.answers.clear()
    till.wall.advance(hours=30)

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == Decimal("74.50"), "as decided when it was asked for"
    assert till.standin.refunds() == [74_50]


async def test_a_charge_that_never_reached_stripe_is_not_made_hours_later(till: Till) -> None:
    who = await till.add_user()
    till.standin.faults[SUBSCRIBE] = never_arrives
    with pytest.raises(BillingOutcomeUnknown):
        await till.upgrade(who, method=till.standin.add_card())
    till.standin.faults.clear()
    till.wall.advance(minutes=11)

    await till.tending.tend(who.user_id)

    assert (await till.command(who))["state"] == "refused"
    assert till.standin.charges() == []


async def test_a_process_that_died_is_followed_up_after_its_lease(till: Till) -> None:
    who = await till.add_user()
    card = till.standin.add_card()
    await till.die_after(SUBSCRIBE, till.upgrade(who, method=card))

    with pytest.raises(BillingBusy):
        await till.upgrade(who, method=card)
    tended = await till.tending.tend(who.user_id)
    assert tended.wait_seconds == 30
    till.wall.advance(seconds=commands.LEASE.total_seconds())
    await till.tending.tend(who.user_id)

    assert (await till.row(who))["subscription_tier"] == "pro"
    assert till.standin.charges() == [149_00]


async def test_the_same_request_twice_at_once_charges_once(till: Till) -> None:
    who = await till.add_user()
    card = till.standin.add_card()

    ended = await asyncio.gather(
        *(till.upgrade(who, method=card) for _ in range(4)), return_exceptions=True
    )

    assert till.standin.charges() == [149_00]
    assert any(not isinstance(one, BaseException) for one in ended)
    assert all(isinstance(one, BillingBusy) for one in ended if isinstance(one, BaseException))


async def test_the_same_request_again_answers_what_it_did(till: Till) -> None:
    who = await till.add_user()
    card = till.standin.add_card()
    first = await till.upgrade(who, method=card)

    assert await till.upgrade(who, method=card) == first
    assert till.standin.charges() == [149_00]


async def test_nothing_is_sent_while_nobody_would_follow_it_up(till: Till) -> None:
    who = await till.add_user()
    till.workflows.is_away = True

    with pytest.raises(WorkflowUnavailable):
        await till.upgrade(who, method=till.standin.add_card())

    assert till.standin.customers() == []
    till.workflows.is_away = False
    await till.upgrade(who, method=till.standin.add_card())
    assert till.standin.charges() == [149_00]


async def test_a_stripe_that_does_not_answer_charges_nothing(till: Till) -> None:
    who = await till.add_user()
    till.proxy.loses_answers = till.proxy.breaks_connections = True

    with pytest.raises((BillingUnavailable, BillingOutcomeUnknown)):
        await till.upgrade(who, method=till.standin.add_card())

    till.proxy.loses_answers = False
    assert till.standin.charges() == []
    assert (await till.command(who))["state"] == "refused"


async def test_a_card_that_is_declined_stays_declined_when_asked_again(till: Till) -> None:
    who = await till.add_user()
    till.lose_answer(SUBSCRIBE)

    with pytest.raises(PaymentFailed):
        await till.upgrade(who, method=till.standin.add_card("4000000000000341"))

    assert till.standin.charges() == []


async def test_without_a_key_paid_calls_say_so_and_the_rest_works(till: Till) -> None:
    who = await till.add_user(trial_days=14)
    closed = Subscriptions(till.database, None)

    with pytest.raises(BillingNotSetUp, match="NIJA_STRIPE_SECRET_KEY"):
        await closed.upgrade(who, tier=Tier.PRO, interval=MONTHLY, payment_method_id="pm_1")

    view = await till.views.current(who)
    assert (view.tier, view.status, view.effective_tier) == ("free", "trialing", "pro")
    till.wall.advance(days=14)
    assert (await till.plan(who)).tier is Tier.FREE
    assert timedelta(0) < view.period_end - view.period_start
