"""Money that Stripe keeps for later bills: it pays them, and goes back to its owner at the end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.plans import Tier
from domain.principal import Principal
from services.billing.errors import BillingOutcomeUnknown
from services.billing.forgetting import BillingForgetting
from tests.billing.harness import YEARLY, Till
from tests.support.stripe_objects import BalanceEntry

pytestmark = pytest.mark.integration

YEAR, MONTH = 470_00, 149_00
"""A year of the basic plan, and a month of the pro plan that it is exchanged for."""


async def who_keeps_credit(till: Till) -> Principal:
    """Somebody whose unused year is worth more than the month that they changed to."""
    who = await till.subscriber(Tier.BASIC, YEARLY)
    await till.upgrade(who, Tier.PRO)
    await till.deliver_all()
    return who


def balance(till: Till) -> int:
    """What Stripe keeps, in cents; negative is credit."""
    (customer,) = till.standin.customers()
    kept: int = customer.balance
    return kept


async def customer_of(till: Till, who: Principal) -> str:
    return str((await till.row(who))["customer_id"])


async def test_credit_pays_later_bills_before_the_card_does(till: Till) -> None:
    await who_keeps_credit(till)
    assert balance(till) == MONTH - YEAR

    await till.pass_time(days=31)
    await till.pass_time(days=30)
    assert balance(till) == 3 * MONTH - YEAR
    await till.pass_time(days=31)

    assert till.standin.charges() == [YEAR, 4 * MONTH - YEAR]
    assert balance(till) == 0


async def test_cancelling_at_once_pays_out_the_credit_too(till: Till) -> None:
    who = await who_keeps_credit(till)

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 470
    assert till.standin.refunds() == [YEAR]
    assert balance(till) == 0


async def test_a_month_that_credit_paid_for_is_refunded_from_the_year_behind_it(till: Till) -> None:
    who = await who_keeps_credit(till)
    await till.pass_time(days=31)
    await till.deliver_all()
    await till.pass_time(days=15)  # half of April

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == Decimal(470) - Decimal(149) - Decimal("74.50")
    assert balance(till) == 0


async def test_a_month_that_credit_paid_in_part_is_refunded_from_both_payments(till: Till) -> None:
    who = await who_keeps_credit(till)
    for days in (31, 30, 31):
        await till.pass_time(days=days)
    await till.deliver_all()

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 149
    assert till.standin.refunds() == [4 * MONTH - YEAR, YEAR - 3 * MONTH]


async def test_a_period_that_was_paid_by_card_alone_touches_no_earlier_payment(till: Till) -> None:
    who = await who_keeps_credit(till)
    for days in (31, 30, 31, 30):
        await till.pass_time(days=days)
    await till.deliver_all()

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 149
    assert till.standin.refunds() == [MONTH]


async def test_credit_that_paid_an_upgrade_is_refunded_as_unused_time(till: Till) -> None:
    who = await who_keeps_credit(till)
    await till.upgrade(who, Tier.ENTERPRISE)
    assert till.standin.charges() == [YEAR, 499_00 - YEAR]

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 499
    assert sorted(till.standin.refunds()) == [499_00 - YEAR, YEAR]


@pytest.mark.parametrize("gift", [50_00, 500_00])
async def test_a_gift_is_never_paid_out(till: Till, gift: int) -> None:
    who = await who_keeps_credit(till)
    BalanceEntry(customer=await customer_of(till, who), amount=-gift)

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 470
    assert balance(till) == -gift


async def test_a_month_that_a_gift_paid_for_is_not_refunded(till: Till) -> None:
    who = await till.subscriber(Tier.PRO)
    BalanceEntry(customer=await customer_of(till, who), amount=-MONTH)
    await till.pass_time(days=31)
    await till.deliver_all()
    assert till.standin.charges() == [MONTH]

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 0


async def test_what_an_operator_paid_out_is_not_paid_again(till: Till) -> None:
    who = await who_keeps_credit(till)
    customer = await customer_of(till, who)
    BalanceEntry(customer=customer, amount=-20_00)
    BalanceEntry(customer=customer, amount=YEAR - MONTH)  # after a refund by hand

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 149
    assert balance(till) == -20_00


async def test_credit_that_outlived_its_subscription_is_paid_out_with_the_next(till: Till) -> None:
    who = await who_keeps_credit(till)
    await till.subscriptions.cancel(who, immediately=False)
    await till.pass_time(days=31, seconds=1)
    await till.deliver_all()
    assert balance(till) == MONTH - YEAR
    await till.upgrade(who, Tier.BASIC)

    cancelled = await till.subscriptions.cancel(who, immediately=True)

    assert cancelled.refund_amount == 321
    assert balance(till) == 0


@pytest.mark.parametrize(
    "write", ["DELETE /v1/subscriptions/{sub}", "POST /v1/refunds", "POST {balance}"]
)
@pytest.mark.parametrize("a_day_later", [False, True])
async def test_a_lost_answer_pays_out_once(till: Till, write: str, a_day_later: bool) -> None:
    """Stripe forgets keys after a day: then only a look tells what was done."""
    who = await who_keeps_credit(till)
    path = f"/v1/customers/{await customer_of(till, who)}/balance_transactions"
    (subscription,) = till.standin.subscriptions()
    lost = write.format(sub=subscription.id, balance=path)
    if a_day_later:
        # Nothing is heard for as long as this request lives; a later one finishes.
        till.fall_silent_after(lost)
        with pytest.raises(BillingOutcomeUnknown):
            await till.subscriptions.cancel(who, immediately=True)
        till.proxy.loses_answers = False
        till.standin.answers.clear()
        till.wall.advance(hours=25)
        await till.tending.tend(who.user_id)
    else:
        till.lose_answer(lost)
        await till.subscriptions.cancel(who, immediately=True)

    command = await till.command(who)
    assert command["state"] == "done"
    assert Decimal(command["result"]["refund_amount"]) == 470
    assert till.standin.refunds() == [YEAR]
    assert balance(till) == 0


async def test_a_deleted_account_takes_its_credit_along(till: Till) -> None:
    who = await who_keeps_credit(till)
    forgetting = BillingForgetting(till.database, till.provider, till.commands, till.refreshing)

    assert await forgetting.forget(who.user_id)
    assert await forgetting.forget(who.user_id)

    assert till.standin.refunds() == [YEAR]
    assert till.standin.customers() == []


async def test_a_deleted_account_takes_along_what_an_ended_plan_left(till: Till) -> None:
    who = await who_keeps_credit(till)
    await till.subscriptions.cancel(who, immediately=False)
    await till.pass_time(days=31, seconds=1)
    await till.deliver_all()
    forgetting = BillingForgetting(till.database, till.provider, till.commands, till.refreshing)
    till.lose_answer("POST /v1/refunds")

    for _ in range(3):
        if await forgetting.forget(who.user_id):
            break
    assert await forgetting.forget(who.user_id)

    assert till.standin.refunds() == [YEAR - MONTH]
    assert till.standin.customers() == []


async def test_a_gift_does_not_keep_an_account_from_being_deleted(till: Till) -> None:
    who = await till.subscriber()
    BalanceEntry(customer=await customer_of(till, who), amount=-50_00)
    await till.subscriptions.cancel(who, immediately=True)
    forgetting = BillingForgetting(till.database, till.provider, till.commands, till.refreshing)

    assert await forgetting.forget(who.user_id)

    assert till.standin.refunds() == [MONTH]
    assert till.standin.customers() == []
