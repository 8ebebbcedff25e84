"""Stripe's objects as ours."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import stripe

from adapters.stripe.prices import CENTS, PriceBook
from domain.billing import (
    PAID_CHOICES,
    Invoice,
    PaymentMethod,
    PlanChoice,
    Subscription,
    SubscriptionStatus,
)

COMMAND = "nija_command"
USER = "nija_user"
PLAN = "nija_plan"

_BY_KEY = {choice.lookup_key: choice for choice in PAID_CHOICES}


def moment(seconds: int) -> datetime:
    """A Stripe timestamp."""
    return datetime.fromtimestamp(seconds, UTC)


def usd(minor: int | None) -> Decimal:
    """An amount in cents, in dollars."""
    return Decimal(minor or 0) / CENTS


def choice_by_key(key: str | None) -> PlanChoice | None:
    """The plan behind a lookup key, or behind the same text in metadata."""
    return _BY_KEY.get(key or "")


def id_of(reference: str | stripe.StripeObject | None) -> str | None:
    """The id of something that Stripe gives by id, or as a whole where it was asked to."""
    if reference is None or isinstance(reference, str):
        return reference
    found: str = reference["id"]
    return found


def metadata_of(raw: Any) -> dict[str, str]:
    """The metadata of an object; empty for a deleted one."""
    metadata = getattr(raw, "metadata", None)
    return {} if metadata is None else dict(metadata.to_dict())


def invoice_of(raw: stripe.Invoice) -> Invoice:
    """A bill. Its period is that of its dearest line: Stripe's own is the one before."""
    lines = raw.lines.data
    period = max(lines, key=lambda line: line.amount).period if lines else None
    return Invoice(
        id=raw.id,
        number=raw.number,
        status=raw.status or "draft",
        created_at=moment(raw.created),
        period_start=moment(period.start if period else raw.period_start),
        period_end=moment(period.end if period else raw.period_end),
        amount_due=usd(raw.amount_due),
        amount_paid=usd(raw.amount_paid),
        total=usd(raw.total),
        credit=usd(sum(line.amount for line in lines if line.amount < 0)),
        currency=raw.currency.upper(),
        url=raw.hosted_invoice_url,
        pdf=raw.invoice_pdf,
    )


def method_of(raw: stripe.PaymentMethod) -> PaymentMethod:
    """A payment method; what only cards have is None for others."""
    card = raw.card if raw.type == "card" else None
    if card is None:
        return PaymentMethod(raw.id, raw.type)
    return PaymentMethod(raw.id, raw.type, card.last4, card.brand, card.exp_month, card.exp_year)


async def subscription_of(raw: stripe.Subscription, book: PriceBook) -> Subscription | None:
    """A subscription; None for one to something that is not a plan of ours."""
    (item, *_) = raw["items"].data
    metadata = metadata_of(raw)
    choice = (
        choice_by_key(item.price.lookup_key)
        or await book.choice_of(item.price.id)
        or choice_by_key(metadata.get(PLAN))
    )
    if choice is None:
        return None
    schedule = raw.schedule if isinstance(raw.schedule, stripe.SubscriptionSchedule) else None
    bill = raw.latest_invoice if isinstance(raw.latest_invoice, stripe.Invoice) else None
    ends_with_period = raw.cancel_at_period_end or (
        raw.cancel_at is not None and raw.cancel_at == item.current_period_end
    )
    return Subscription(
        id=raw.id,
        customer_id=id_of(raw.customer) or "",
        status=SubscriptionStatus(raw.status),
        choice=choice,
        created_at=moment(raw.created),
        period_start=moment(item.current_period_start),
        period_end=moment(item.current_period_end),
        cancel_at_period_end=ends_with_period,
        ended_at=moment(raw.ended_at) if raw.ended_at else None,
        trial_end=moment(raw.trial_end) if raw.trial_end else None,
        command_id=metadata.get(COMMAND),
        schedule_id=id_of(raw.schedule),
        scheduled=await _next_choice(schedule, item.current_period_end, book),
        latest_invoice=invoice_of(bill) if bill else None,
    )


async def _next_choice(
    schedule: stripe.SubscriptionSchedule | None, period_end: int, book: PriceBook
) -> PlanChoice | None:
    for phase in schedule.phases if schedule else ():
        if phase.start_date >= period_end:
            price_id = id_of(phase["items"][0].price) or ""
            return await book.choice_of(price_id) or choice_by_key(metadata_of(phase).get(PLAN))
    return None
