"""Several bills unpaid: another card pays all of them, the oldest first, and the answer is true."""

from __future__ import annotations

from typing import Any

import pytest

from domain.plans import Tier
from domain.principal import Principal
from services.billing.errors import BillingOutcomeUnknown, PaymentFailed
from tests.billing.harness import Till
from tests.support.stripe_objects import Invoice, _all
from tests.support.stripe_standin import DECLINES

pytestmark = pytest.mark.integration


async def who_owes_twice(till: Till) -> Principal:
    """Somebody whose card failed for two months."""
    who = await till.subscriber()
    till.standin.fail_the_card_of((await till.row(who))["customer_id"])
    for days in (31, 30):
        await till.pass_time(days=days, hours=1)
        await till.deliver_all()
    return who


def bills() -> list[Any]:
    """Oldest first."""
    return _all(Invoice)[::-1]


async def test_another_card_pays_all_that_is_overdue_oldest_first(till: Till) -> None:
    who = await who_owes_twice(till)
    _, older, newer = bills()

    await till.subscriptions.set_payment_method(who, till.standin.add_card())

    paid = [one for one in till.standin.writes if one.endswith("/pay")]
    assert paid == [f"POST /v1/invoices/{older.id}/pay", f"POST /v1/invoices/{newer.id}/pay"]
    assert till.standin.charges() == [149_00, 149_00, 149_00]
    assert [bill.status for bill in bills()] == ["paid", "paid", "paid"]
    row = await till.row(who)
    assert (row["status"], row["subscription_tier"]) == ("active", "pro")


async def test_a_card_that_pays_only_the_first_bill_is_told_what_it_paid(till: Till) -> None:
    who = await who_owes_twice(till)
    customer, payment = (await till.row(who))["customer_id"], f"/v1/invoices/{bills()[1].id}/pay"
    till.standin.afterwards[f"POST {payment}"] = lambda: till.standin.fail_the_card_of(customer)

    with pytest.raises(PaymentFailed, match=r"149\S* USD .* was paid, 149\S* USD was not: .*decl"):
        await till.subscriptions.set_payment_method(who, till.standin.add_card())

    assert till.standin.charges() == [149_00, 149_00]
    assert [bill.status for bill in bills()] == ["paid", "paid", "open"]
    await till.deliver_all()
    assert (await till.row(who))["status"] == "past_due"
    assert (await till.plan(who)).tier is Tier.FREE


async def test_a_card_that_pays_nothing_is_told_so(till: Till) -> None:
    who = await who_owes_twice(till)

    with pytest.raises(PaymentFailed, match=r"^Your card was declined"):
        await till.subscriptions.set_payment_method(who, till.standin.add_card(DECLINES))

    assert till.standin.charges() == [149_00]
    assert [bill.status for bill in bills()] == ["paid", "open", "open"]


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_answer_pays_each_bill_once(till: Till, lost: int) -> None:
    who = await who_owes_twice(till)
    till.lose_answer(f"POST /v1/invoices/{bills()[lost].id}/pay")

    await till.subscriptions.set_payment_method(who, till.standin.add_card())

    assert till.standin.charges() == [149_00, 149_00, 149_00]
    assert (await till.row(who))["status"] == "active"


async def test_what_is_finished_too_late_tells_what_was_paid(till: Till) -> None:
    who = await who_owes_twice(till)
    till.fall_silent_after(f"POST /v1/invoices/{bills()[1].id}/pay")
    with pytest.raises(BillingOutcomeUnknown):
        await till.subscriptions.set_payment_method(who, till.standin.add_card())
    till.proxy.loses_answers = False
    till.wall.advance(minutes=11)

    await till.tending.tend(who.user_id)

    command = await till.command(who)
    assert command["state"] == "refused"
    assert "149" in command["refusal"]["message"]
    assert "was paid" in command["refusal"]["message"]
    assert "nothing was charged" not in command["refusal"]["message"]
    assert till.standin.charges() == [149_00, 149_00]
