"""What the subscription workflow's timers do, and the workflows themselves."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from aiohttp import web
from temporalio.worker import Worker

from activities.billing import BillingActivities
from adapters.temporal.billing import TemporalBilling
from adapters.temporal.client import TemporalWorkflows
from domain.contracts.billing import (
    StripeEventResult,
    stripe_event_workflow_id,
    subscription_workflow_id,
)
from domain.plans import Tier
from domain.principal import Principal
from tests.billing.harness import Till
from tests.billing.shop import PATIENCE, PAUSE_SECONDS
from tests.support.sandbox import sandboxed
from tests.support.stripe_standin import Handler
from workflows.stripe_event import StripeEventWorkflow
from workflows.subscription import SubscriptionWorkflow

pytestmark = pytest.mark.integration


async def test_a_trial_is_reminded_of_three_days_before_and_at_its_end(till: Till) -> None:
    who = await till.add_user(trial_days=14)
    first = await till.tending.tend(who.user_id)
    assert first.wait_seconds == pytest.approx(timedelta(days=11).total_seconds(), abs=1)
    assert await till.notices(who) == []
    assert (await till.plan(who)).tier is Tier.PRO

    till.wall.advance(days=11)
    for _ in range(2):
        second = await till.tending.tend(who.user_id)
    assert second.wait_seconds == pytest.approx(timedelta(days=3).total_seconds(), abs=1)
    assert await till.notices(who) == ["trial_ending"]

    till.wall.advance(days=3)
    for _ in range(2):
        third = await till.tending.tend(who.user_id)
    assert third.wait_seconds is None, "there is nothing to wait for any more"
    assert await till.notices(who) == ["trial_ending", "trial_ended"]
    assert (await till.plan(who)).tier is Tier.FREE


async def test_whoever_pays_is_not_reminded_of_a_trial(till: Till) -> None:
    who = await till.add_user(trial_days=2)
    await till.upgrade(who, method=till.standin.add_card())

    await till.tending.tend(who.user_id)
    till.wall.advance(days=2)
    await till.tending.tend(who.user_id)

    assert await till.notices(who) == ["plan_changed"]


async def test_a_lost_event_is_made_up_for_at_the_end_of_the_period(till: Till) -> None:
    who = await till.subscriber()
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    await till.pass_time(days=31, minutes=1)

    await till.tending.tend(who.user_id)

    assert (await till.row(who))["status"] == "past_due"


async def test_what_was_read_before_the_end_of_the_period_is_read_again_after_it(
    till: Till,
) -> None:
    """A look begins before the end and is answered after it: it has not seen the renewal."""
    who = await till.subscriber()
    ends: datetime = (await till.row(who))["period_end"]
    till.wall.time = ends - timedelta(seconds=1)

    async def answer_late(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        till.wall.time = max(till.wall.time, ends)
        return answer

    till.standin.faults["GET /v1/subscriptions"] = answer_late
    tended = await till.tending.tend(who.user_id)

    assert tended.wait_seconds == 1
    await till.pass_time(seconds=1)
    await till.tending.tend(who.user_id)
    assert (await till.row(who))["period_start"] == ends


@pytest.mark.parametrize("microseconds", range(1, 9))
async def test_a_period_that_ends_while_a_look_goes_on_is_looked_at_again(
    till: Till, microseconds: int
) -> None:
    """Each reading moves the clock by one: whichever of them is the first one after the end."""
    who = await till.subscriber()
    ends: datetime = (await till.row(who))["period_end"]
    till.wall.time = ends - timedelta(hours=1)
    await till.tending.tend(who.user_id)
    till.wall.time = ends - timedelta(microseconds=microseconds)

    tended = await till.tending.tend(who.user_id)

    assert tended.wait_seconds is not None
    assert tended.wait_seconds <= timedelta(minutes=5).total_seconds()


async def test_a_renewal_that_stripe_is_late_with_is_looked_for_again_soon(till: Till) -> None:
    who = await till.subscriber()
    ends: datetime = (await till.row(who))["period_end"]
    till.wall.time = ends + timedelta(seconds=1)  # nothing happened at Stripe yet

    tended = await till.tending.tend(who.user_id)
    assert tended.wait_seconds == pytest.approx(timedelta(minutes=5).total_seconds(), abs=1)

    await till.pass_time(minutes=5)
    tended = await till.tending.tend(who.user_id)
    assert (await till.row(who))["period_start"] == ends
    assert tended.wait_seconds == pytest.approx(timedelta(hours=24).total_seconds(), abs=1)


async def test_a_stripe_that_is_away_is_looked_for_again_soon(till: Till) -> None:
    who = await till.subscriber()
    till.wall.advance(days=2)
    till.proxy.loses_answers = till.proxy.breaks_connections = True

    tended = await till.tending.tend(who.user_id)

    assert tended.wait_seconds == pytest.approx(60, abs=1)
    till.proxy.loses_answers = False


async def test_an_administrators_gift_outlives_looks_but_not_a_change_of_the_paid_plan(
    till: Till,
) -> None:
    who = await till.subscriber(Tier.BASIC)
    await till.rows(
        "UPDATE users SET subscription_tier = 'enterprise' WHERE id = :user RETURNING id",
        user=who.user_id,
    )

    await till.refreshing.refresh(who.user_id)
    assert (await till.plan(who)).tier is Tier.ENTERPRISE

    await till.upgrade(who, Tier.PRO)
    assert (await till.plan(who)).tier is Tier.PRO


async def test_the_sweep_finds_new_trials_and_late_looks(till: Till) -> None:
    who = await till.add_user(trial_days=14)
    await till.sweep.sweep()
    assert who.user_id in till.workflows.woken

    await till.tending.tend(who.user_id)
    till.workflows.woken.clear()
    await till.sweep.sweep()
    assert who.user_id not in till.workflows.woken

    till.wall.advance(days=11, minutes=1)
    await till.sweep.sweep()
    assert who.user_id in till.workflows.woken


async def test_somebody_who_is_gone_is_left_alone(till: Till) -> None:
    assert (await till.tending.tend(uuid4())).wait_seconds is None


async def test_the_workflows_run_on_a_real_server(till: Till, temporal_address: str) -> None:
    temporal = TemporalWorkflows(temporal_address, "default", "billing")
    billing = TemporalBilling(temporal, "billing")
    client = await temporal.client()
    activities = BillingActivities(till.tending, till.handling)
    till.handling._workflows = billing
    async with Worker(
        client,
        task_queue="billing",
        workflows=[SubscriptionWorkflow, StripeEventWorkflow],
        activities=[activities.tend, activities.handle_event],
        workflow_runner=sandboxed(),
    ):
        who = await till.subscriber()
        till.standin.fail_the_card_of((await till.row(who))["customer_id"])
        await till.pass_time(days=31, seconds=1)
        event = till.standin.event("invoice.payment_failed")
        await till.receive(event)
        for _ in range(2):
            await billing.process_event(event["id"])
        handle = client.get_workflow_handle(
            stripe_event_workflow_id(event["id"]), result_type=StripeEventResult
        )
        assert (await handle.result()).summary == "state read and stored"
        assert (await till.row(who))["status"] == "past_due"

        till.wall.time = (await till.row(who))["billed_until"] - timedelta(seconds=1)
        await billing.wake_subscription(who.user_id)
        await _until_free(till, who)

        notices = await till.notices(who)
        assert notices == ["plan_changed", "payment_failed", "plan_lost"]
        await client.get_workflow_handle(subscription_workflow_id(who.user_id)).terminate()


async def _until_free(till: Till, who: Principal) -> None:
    """The timer of a second runs on Temporal's clock; ours is moved past it meanwhile."""
    for _ in range(PATIENCE):
        row = await till.row(who)
        if row["subscription_tier"] == "free":
            return
        till.wall.advance(seconds=PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError("the grace did not end")
