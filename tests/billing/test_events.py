"""Events: verified, stored once, in any order, more than once, or never."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import stripe

from adapters.stripe.events import StripeEventVerifier
from domain.billing import ProviderUnavailable
from domain.plans import Tier
from services.billing.errors import WebhookClosed, WebhookForged, WebhookMalformed
from services.billing.inbox import EventInbox
from tests.billing.harness import SECRET, Till
from tests.support.stripe_faults import HeldBack

pytestmark = pytest.mark.integration

STATE = ("status", "tier", "subscription_tier", "period_start", "period_end", "billed_until")


async def _state(till: Till, who: Any) -> dict[str, Any]:
    row = await till.row(who)
    return {name: row[name] for name in STATE}


async def test_an_event_is_stored_once(till: Till) -> None:
    await till.subscriber()
    event = till.standin.event("invoice.payment_succeeded") | {"id": f"evt_{uuid4().hex}"}

    assert await till.receive(event)
    assert not await till.receive(event)

    found = await till.rows("SELECT * FROM stripe_events WHERE id = :id", id=event["id"])
    assert len(found) == 1
    assert till.workflows.events.count(event["id"]) == 1


async def test_of_many_at_once_one_is_new(till: Till) -> None:
    await till.subscriber()
    event = till.standin.event("invoice.payment_succeeded") | {"id": f"evt_{uuid4().hex}"}

    news = await asyncio.gather(*(till.receive(event) for _ in range(5)))

    assert sorted(news) == [False, False, False, False, True]


async def test_a_handled_event_is_not_handled_again(till: Till) -> None:
    who = await till.subscriber()
    event = till.standin.event("customer.subscription.created")
    looks = (await till.row(who))["asked"]

    await till.handling.handle(event["id"])

    assert (await till.row(who))["asked"] == looks


async def test_every_order_of_the_same_events_ends_the_same(till: Till) -> None:
    """A renewal fails, is paid, and the subscription is cancelled: told in shuffled orders."""
    who = await till.subscriber()
    customer = (await till.row(who))["customer_id"]
    till.standin.fail_the_card_of(customer)
    await till.pass_time(days=32)
    till.standin._card_of(customer)._card_number = "4242424242424242"
    await till.provider.pay(till.standin.subscriptions()[0].latest_invoice, key="by-hand")
    events = till.fresh_events()
    kinds = {event["type"] for event in events}
    assert {"invoice.payment_failed", "invoice.payment_succeeded"} <= kinds
    assert "customer.subscription.updated" in kinds
    expected: dict[str, Any] | None = None
    orders = list(itertools.islice(itertools.permutations(events), 200))

    for order in random.Random(7).sample(orders, 4):
        again = [event | {"id": f"evt_{uuid4().hex}"} for event in order]
        await till.deliver(*again, *again)
        state = await _state(till, who)
        expected = expected or state
        assert state == expected

    assert expected is not None
    assert (expected["status"], expected["subscription_tier"]) == ("active", "pro")
    assert till.standin.charges() == [149_00, 149_00]
    notices = await till.notices(who)
    assert len(notices) == len(set(notices)), "everything is told once"


async def test_an_old_event_after_the_end_changes_nothing(till: Till) -> None:
    who = await till.subscriber()
    created = till.standin.event("customer.subscription.created")
    await till.subscriptions.cancel(who, immediately=True)
    await till.deliver_all()
    ended = await _state(till, who)

    await till.deliver(created | {"id": f"evt_{uuid4().hex}"})

    assert await _state(till, who) == ended
    assert (ended["status"], ended["subscription_tier"]) == ("canceled", "free")


async def test_what_an_event_says_is_not_believed(till: Till) -> None:
    who = await till.subscriber(Tier.BASIC)
    event = till.standin.event("customer.subscription.created")
    lie = json.loads(json.dumps(event).replace("nija_basic_monthly", "nija_enterprise_monthly"))

    await till.deliver(lie | {"id": f"evt_{uuid4().hex}"})

    assert (await till.row(who))["subscription_tier"] == "basic"


async def test_a_look_that_began_earlier_never_replaces_a_later_one(till: Till) -> None:
    who = await till.subscriber()
    till.standin.faults["GET /v1/subscriptions"] = held_back = HeldBack()
    earlier = asyncio.create_task(till.refreshing.refresh(who.user_id))
    await held_back.reached.wait()
    till.standin.faults.clear()
    await till.subscriptions.cancel(who, immediately=True)
    held_back.released.set()
    snapshot = await earlier

    assert snapshot is not None
    assert snapshot.subscription is not None
    assert snapshot.subscription.status == "active", "it saw what was before"
    assert (await till.row(who))["status"] == "canceled"


async def test_a_forged_signature_is_refused(till: Till) -> None:
    event = {"id": f"evt_{uuid4().hex}", "type": "x", "created": 1, "data": {"object": {}}}
    body = json.dumps(event)
    sign = stripe.WebhookSignature.generate_signature_header
    good = sign(body, SECRET)
    forged = (
        None,
        "",
        "nonsense",
        sign(body, "whsec_of_somebody_else"),
        sign(body + " ", SECRET),
        sign(body, SECRET, timestamp=1),
        good.split(",")[0] + ",v1=" + "0" * 64,
    )

    for header in forged:
        with pytest.raises(WebhookForged):
            await till.inbox.receive(body.encode(), header)
    with pytest.raises(WebhookForged):
        await till.inbox.receive(b"\xff" + body.encode(), good)

    assert await till.rows("SELECT 1 FROM stripe_events WHERE id = :id", id=event["id"]) == []
    assert await till.inbox.receive(body.encode(), good)


async def test_a_signed_body_that_is_no_event_is_refused(till: Till) -> None:
    for body in ("[]", "{}", "not json", '{"id":"e","type":"t","created":"x","data":{}}'):
        header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
        with pytest.raises(WebhookMalformed):
            await till.inbox.receive(body.encode(), header)


async def test_without_a_secret_the_endpoint_is_closed(till: Till) -> None:
    closed = EventInbox(till.database, None, till.workflows, till.wall)

    with pytest.raises(WebhookClosed):
        await closed.receive(b"{}", stripe.WebhookSignature.generate_signature_header("{}", ""))
    with pytest.raises(ValueError, match="empty"):
        StripeEventVerifier(" ")


async def test_a_workflow_service_that_is_away_delays_an_event_only(till: Till) -> None:
    who = await till.add_user()
    await till.upgrade(who, method=till.standin.add_card())
    await till.pass_time(days=31, seconds=1)
    event = till.standin.event("customer.subscription.updated")
    till.workflows.is_away = True

    assert await till.receive(event)

    till.workflows.is_away = False
    till.wall.advance(minutes=1)
    assert await till.sweep.sweep() >= 1
    assert event["id"] in till.workflows.events
    await till.handling.handle(event["id"])
    till.workflows.events.clear()
    await till.sweep.sweep()
    assert event["id"] not in till.workflows.events


async def test_a_stripe_that_is_away_leaves_the_event_to_be_handled(till: Till) -> None:
    await till.subscriber()
    event = till.standin.event("customer.subscription.created") | {"id": f"evt_{uuid4().hex}"}
    await till.receive(event)
    till.proxy.loses_answers = till.proxy.breaks_connections = True

    with pytest.raises(ProviderUnavailable):
        await till.handling.handle(event["id"])

    till.proxy.loses_answers = False
    assert await till.handling.handle(event["id"]) == "state read and stored"


async def test_strangers_and_other_subjects_are_left_alone(till: Till) -> None:
    who = await till.subscriber()
    before = await _state(till, who)
    stranger = await till.provider.create_customer(
        uuid4(), email="stranger@example.com", name="A Stranger", key=uuid4().hex
    )
    base = till.standin.event("customer.subscription.created")
    outcomes = []
    changed: tuple[dict[str, Any], ...] = (
        {"type": "charge.succeeded"},
        {"data": {"object": {"id": "x"}}},
        {"data": {"object": {"id": "x", "customer": stranger}}},
    )
    for changes in changed:
        event = base | {"id": f"evt_{uuid4().hex}"} | changes
        await till.receive(event)
        outcomes.append(await till.handling.handle(event["id"]))

    assert outcomes == ["not of interest", "names no customer", "not a customer of ours"]
    assert await _state(till, who) == before


async def test_an_event_finds_the_user_of_a_customer_we_never_heard_back_of(till: Till) -> None:
    who = await till.add_user()
    customer = await till.provider.create_customer(
        who.user_id, email="a@example.com", name="A", key=uuid4().hex
    )
    card = till.standin.add_card()
    await till.provider.use_payment_method(customer, card, key=uuid4().hex)
    checkout = {"id": "cs_1", "object": "checkout.session", "customer": customer}

    await till.deliver(
        till.standin.events[-1]
        | {
            "id": f"evt_{uuid4().hex}",
            "type": "checkout.session.completed",
            "data": {"object": checkout},
        }
    )

    row = await till.row(who)
    assert row["customer_id"] == customer
    assert row["payment_method"]["last4"] == "4242"


async def test_a_trial_at_stripe_is_reminded_of_once(till: Till) -> None:
    who = await till.subscriber()
    subscription = till.standin.subscriptions()[0]
    subscription.trial_end = int((till.wall.now() + timedelta(days=3)).timestamp())
    base = till.standin.event("customer.subscription.created")
    kind = "customer.subscription.trial_will_end"

    for _ in range(2):
        await till.deliver(base | {"id": f"evt_{uuid4().hex}", "type": kind})

    assert (await till.notices(who)).count("trial_ending") == 1
