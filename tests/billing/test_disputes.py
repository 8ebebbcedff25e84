"""Disputes are recorded once and told to administrators; no plan changes by them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from localstripe import resources

from domain.billing import ProviderUnavailable
from domain.plans import Tier
from domain.principal import Role
from models.people import User, UserStatus
from services.notices import NoticeKind
from services.notifying.wording import words_of
from tests.billing.harness import Till
from tests.support.stripe_faults import UNAVAILABLE, answers
from tests.support.stripe_objects import Dispute

pytestmark = pytest.mark.integration

OPENED, CLOSED = "charge.dispute.created", "charge.dispute.closed"


async def add_person(till: Till, role: Role, status: UserStatus = UserStatus.ACTIVE) -> UUID:
    user_id = uuid4()
    async with till.database.as_system() as session:
        session.add(
            User(
                id=user_id,
                email=f"{user_id.hex}@example.com",
                full_name="Somebody",
                password_hash="-",
                role=role,
                status=status,
                created_at=till.wall.now(),
            )
        )
    return user_id


async def told(till: Till, user_id: UUID) -> list[dict[str, Any]]:
    return await till.rows(
        "SELECT kind, facts FROM notices WHERE user_id = :user ORDER BY created_at", user=user_id
    )


async def recorded(till: Till, user_id: UUID) -> list[dict[str, Any]]:
    return await till.rows(
        "SELECT event_type, meta FROM audit_log WHERE user_id = :user"
        " AND event_type LIKE 'payment_dispute%' ORDER BY at",
        user=user_id,
    )


async def test_a_dispute_is_recorded_and_told_to_administrators_alone(till: Till) -> None:
    admin = await add_person(till, Role.ADMIN)
    suspended = await add_person(till, Role.ADMIN, UserStatus.SUSPENDED)
    somebody = await add_person(till, Role.USER)
    who = await till.subscriber()
    before, news = await till.row(who), await till.notices(who)

    dispute = Dispute(till.standin.payments()[0])
    await till.deliver_all()

    (entry,) = await recorded(till, who.user_id)
    assert entry["event_type"] == "payment_disputed"
    assert (entry["meta"]["dispute"], entry["meta"]["amount"]) == (dispute.id, "149")
    (notice,) = await told(till, admin)
    assert notice["kind"] == "payment_disputed"
    assert notice["facts"]["user_id"] == str(who.user_id)
    assert notice["facts"]["status"] == "needs_response"
    assert await told(till, suspended) == await told(till, somebody) == []
    assert await till.notices(who) == news
    assert await till.row(who) == before, "no entitlement, no look"
    assert (await till.plan(who)).tier is Tier.PRO
    (event,) = await till.rows("SELECT * FROM stripe_events WHERE type = :type", type=OPENED)
    assert (event["outcome"], event["customer_id"]) == ("recorded", before["customer_id"])

    dispute._close("lost")
    await till.deliver_all()

    assert [entry["event_type"] for entry in await recorded(till, who.user_id)] == [
        "payment_disputed",
        "payment_dispute_closed",
    ]
    closed = (await told(till, admin))[1]
    assert (closed["kind"], closed["facts"]["status"]) == ("payment_dispute_closed", "lost")
    assert await till.row(who) == before


async def test_an_event_that_comes_twice_is_recorded_once(till: Till) -> None:
    admin = await add_person(till, Role.ADMIN)
    who = await till.subscriber()
    Dispute(till.standin.payments()[0])
    event = till.standin.event(OPENED)

    await till.deliver(event, event)
    await till.handling.handle(event["id"])

    assert len(await recorded(till, who.user_id)) == len(await told(till, admin)) == 1


async def test_a_dispute_that_cannot_be_read_is_read_later(till: Till) -> None:
    who = await till.subscriber()
    dispute = Dispute(till.standin.payments()[0])
    event = till.standin.event(OPENED)
    await till.receive(event)
    till.standin.faults[f"GET /v1/disputes/{dispute.id}"] = answers(UNAVAILABLE)
    with pytest.raises(ProviderUnavailable):
        await till.handling.handle(event["id"])
    assert await recorded(till, who.user_id) == []

    till.standin.faults.clear()
    await till.handling.handle(event["id"])

    assert len(await recorded(till, who.user_id)) == 1


async def test_a_dispute_with_a_customer_of_somebody_else_tells_nobody(till: Till) -> None:
    admin = await add_person(till, Role.ADMIN)
    stranger = resources.Customer(email="stranger@example.com")
    card = till.standin.add_card()
    resources.PaymentMethod._api_attach(card, customer=stranger.id)
    payment = resources.PaymentIntent(
        amount=500, currency="usd", customer=stranger.id, payment_method=card
    )
    payment._confirm(on_failure_now=lambda: None)
    Dispute(payment.id)

    event = till.standin.event(OPENED)
    await till.receive(event)

    assert await till.handling.handle(event["id"]) == "not a customer of ours"
    assert await told(till, admin) == []


def test_there_are_words_for_it() -> None:
    facts = {
        "dispute": "du_1",
        "payment": "pi_1",
        "user_id": "u",
        "amount": "149",
        "currency": "USD",
        "reason": "fraudulent",
        "status": "lost",
        "answer_due_at": None,
    }
    for kind in (NoticeKind.PAYMENT_DISPUTED, NoticeKind.PAYMENT_DISPUTE_CLOSED):
        assert "du_1" in str(words_of(kind.value, facts))
