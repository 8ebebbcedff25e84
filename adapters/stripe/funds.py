"""Whose money is where: what a period was paid with, and what Stripe keeps for later bills.

A bill whose total is negative is paid to the customer's balance at Stripe, and later bills are paid
from there before any card is charged. Only what came from such bills is the user's own money; what
an operator put there is a gift, which pays bills but is never paid out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import stripe

from adapters.stripe.parse import id_of, invoice_of, moment, usd
from domain.billing import ZERO, Subscription

_GIVEN = "credit_note"  # an operator's, though it names a bill
_TAKEN_BACK = "unapplied_from_invoice"


@dataclass(frozen=True, slots=True)
class Credit:
    """The user's own money in the customer's balance.

    Attributes:
        held: what of it is there now.
        by_bill: what each bill took of it (positive) or put there (negative).
    """

    held: Decimal
    by_bill: Mapping[str, Decimal]


def subscription_of_bill(bill: stripe.Invoice) -> str | None:
    """The subscription that a bill is of; None for one that an operator made by hand."""
    details = bill.parent.subscription_details if bill.parent else None
    return id_of(details.subscription) if details else None


def credit_of(
    entries: Sequence[stripe.CustomerBalanceTransaction],
    bills: Sequence[stripe.Invoice],
    balance: int | None,
) -> Credit:
    """Follow the balance from its beginning; gifts are used up before money is.

    Args:
        entries: the balance's, newest first.
        bills: paid ones of the customer.
        balance: as it is now, in cents; negative is credit.
    """
    ours = {bill.id for bill in bills if subscription_of_bill(bill) is not None}
    gifts, own = ZERO, ZERO
    by_bill: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in reversed(entries):
        amount, bill = -usd(entry.amount), id_of(entry.invoice) or ""
        mine = ZERO
        if amount > ZERO and entry.type == _TAKEN_BACK:
            mine = min(amount, max(ZERO, by_bill[bill]))
        elif amount > ZERO and entry.type != _GIVEN and bill in ours:
            mine = amount
        elif amount < ZERO:
            # What no bill took was paid out, by us or by an operator.
            mine = -min(own, max(ZERO, -amount - gifts) if bill else -amount)
        own += mine
        gifts = max(ZERO, gifts + amount - mine)
        by_bill[bill] -= mine
    return Credit(min(own, max(ZERO, -usd(balance))), by_bill)


def payments_behind(
    bills: Sequence[stripe.Invoice], subscription: Subscription, credit: Credit
) -> list[tuple[str, Decimal]]:
    """What the present period and the held credit were paid with: ids of payments and amounts.

    Args:
        bills: paid ones of the customer, newest first.
        subscription: whose period it is.
        credit: the user's own in the customer's balance.
    """

    def is_of_period(bill: stripe.Invoice) -> bool:
        named = subscription_of_bill(bill)
        return named == subscription.id and moment(bill.created) >= subscription.period_start

    present = [bill for bill in bills if is_of_period(bill)]
    present_ids = {bill.id for bill in present}
    # What earlier bills paid for and is not used up: the credit, what the period's bills took of
    # it, and the unused time that the bill which opened the period took over.
    earlier = credit.held + sum((credit.by_bill.get(bill.id, ZERO) for bill in present), ZERO)
    if present:
        earlier -= invoice_of(present[-1]).credit
    made: list[tuple[str, Decimal]] = []
    for bill in bills:
        if subscription_of_bill(bill) is None:
            continue
        for paid in bill.payments.data if bill.payments else ():
            intent = id_of(paid.payment.payment_intent)
            if paid.status != "paid" or intent is None:
                continue
            amount = usd(paid.amount_paid)
            if bill.id not in present_ids:
                amount = min(amount, earlier)
                earlier -= amount
            if amount > ZERO:
                made.append((intent, amount))
    return made
