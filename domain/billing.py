"""Subscriptions as the platform sees them: values, the provider's port, and the pure rules.

Amounts are USD as Decimal; the provider's minor units end at its adapter. Every command to the
provider ends done, refused (`ProviderRefused`) or unknown (`ProviderOutcomeUnknown`); a read that
fails is `ProviderUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.plans import PAYMENT_GRACE, BillingInterval, Plan, Tier, effective_plan, is_trial_active

ZERO = Decimal(0)


class SubscriptionStatus(StrEnum):
    """Where a paid subscription stands at the provider."""

    ACTIVE = "active"
    TRIALING = "trialing"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    CANCELED = "canceled"

    @property
    def is_live(self) -> bool:
        """Whether the subscription still exists: changes go to it instead of making another."""
        return self not in {self.CANCELED, self.INCOMPLETE, self.INCOMPLETE_EXPIRED}

    @property
    def is_in_arrears(self) -> bool:
        """Whether a payment is missing."""
        return self in {self.PAST_DUE, self.UNPAID}

    @property
    def grants_plan(self) -> bool:
        """Whether the plan holds; in arrears it does until the grace is over."""
        return self in {self.ACTIVE, self.TRIALING} or self.is_in_arrears


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """What somebody pays for."""

    tier: Tier
    interval: BillingInterval

    @property
    def lookup_key(self) -> str:
        """The name of the price at the provider."""
        return f"nija_{self.tier.value}_{self.interval.value}"

    def is_upgrade_of(self, other: PlanChoice) -> bool:
        """A higher tier, or the same one for a year instead of a month: takes effect at once."""
        if self.tier is not other.tier:
            return self.tier.rank > other.tier.rank
        return (other.interval, self.interval) == (BillingInterval.MONTHLY, BillingInterval.YEARLY)


PAID_CHOICES: tuple[PlanChoice, ...] = tuple(
    PlanChoice(tier, interval)
    for tier in Tier
    if tier is not Tier.FREE
    for interval in BillingInterval
)


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """The stored card (or another means); never a number."""

    id: str
    type: str
    last4: str | None = None
    brand: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """One bill. `credit` is the (negative) sum of what was given back for unused time."""

    id: str
    number: str | None
    status: str
    created_at: datetime
    period_start: datetime
    period_end: datetime
    amount_due: Decimal
    amount_paid: Decimal
    total: Decimal
    credit: Decimal
    currency: str
    url: str | None = None
    pdf: str | None = None

    @property
    def owed(self) -> Decimal:
        """What is still to be paid."""
        return self.amount_due - self.amount_paid


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that was taken for a subscription, and what of it was given back."""

    id: str
    amount: Decimal
    refunded: Decimal

    @property
    def refundable(self) -> Decimal:
        """What may still be given back."""
        return max(ZERO, self.amount - self.refunded)


@dataclass(frozen=True, slots=True)
class Funds:
    """What may be given back to a user.

    Attributes:
        payments: those behind the current period and the credit, newest first. Where the period or
            the credit came from the unused rest of an earlier period, that rest was paid with the
            bills before it: of those payments at most as much counts.
        credit: the user's own money that the provider keeps for later bills; no gift is.
    """

    payments: Sequence[Payment]
    credit: Decimal


@dataclass(frozen=True, slots=True)
class Dispute:
    """A payment that its payer's bank asks back (a chargeback), as the provider reported it."""

    id: str
    customer_id: str | None
    payment_id: str | None
    amount: Decimal
    currency: str
    reason: str
    status: str
    answer_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the provider reported it.

    Attributes:
        command_id: our command that last changed it, from its metadata.
        scheduled: the plan of the next period, where it is another one.
    """

    id: str
    customer_id: str
    status: SubscriptionStatus
    choice: PlanChoice
    created_at: datetime
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool = False
    ended_at: datetime | None = None
    trial_end: datetime | None = None
    command_id: str | None = None
    schedule_id: str | None = None
    scheduled: PlanChoice | None = None
    latest_invoice: Invoice | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one look at a customer tells."""

    customer_id: str
    subscription: Subscription | None
    payment_method: PaymentMethod | None


@dataclass(frozen=True, slots=True)
class RefundShare:
    """How much of one payment is given back."""

    payment_id: str
    amount: Decimal


# --- the provider --------------------------------------------------------------------------------


class ProviderUnavailable(Exception):
    """A question that changes nothing was not answered."""


class ProviderOutcomeUnknown(Exception):
    """A command was sent and not answered: it may have happened. Look, or repeat under its key."""


class ProviderMisconfigured(Exception):
    """The provider answers, but is not set up for our plan table, or does not accept our key."""


class RefusalReason(StrEnum):
    """Why the provider refused a command; nothing happened."""

    CARD_DECLINED = "card_declined"
    PAYMENT_METHOD = "payment_method"
    OTHER = "other"


class ProviderRefused(Exception):
    """The provider refused a command for good; nothing was charged by it."""

    def __init__(self, reason: RefusalReason, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = code


class BillingProvider(Protocol):
    """Customers, subscriptions and money at the payment provider.

    Reads raise ProviderUnavailable. Writes take an idempotency `key` derived from our own command:
    a repeat under the same key has no second effect. They raise ProviderRefused or
    ProviderOutcomeUnknown. Both raise ProviderMisconfigured.
    """

    async def find_customer(self, user_id: UUID) -> str | None:
        """The customer that carries our user's id in its metadata."""
        ...

    async def owner_of(self, customer_id: str) -> UUID | None:
        """The user in a customer's metadata."""
        ...

    async def look(self, customer_id: str) -> Snapshot:
        """The customer's subscription (a live one before an ended one, then the newest)."""
        ...

    async def invoices(self, customer_id: str, *, limit: int) -> Sequence[Invoice]:
        """Bills, newest first."""
        ...

    async def unused_value(self, subscription: Subscription) -> Decimal:
        """What the unused rest of the current period is worth, as the provider prorates."""
        ...

    async def open_bills(self, subscription: Subscription) -> Sequence[Invoice]:
        """Bills of a subscription that wait to be paid, oldest first."""
        ...

    async def funds(self, subscription: Subscription) -> Funds:
        """What the current period was paid with, and the user's money that is kept as credit."""
        ...

    async def keeps_credit(self, customer_id: str) -> bool:
        """Whether anything is kept for later bills of a customer; never for a deleted one."""
        ...

    async def credit_taken_by(self, command_id: UUID, customer_id: str) -> bool:
        """Whether a command took credit from a customer already."""
        ...

    async def dispute(self, dispute_id: str) -> Dispute:
        """A dispute as it stands."""
        ...

    async def refunded_by(self, command_id: UUID, payment_id: str) -> Decimal | None:
        """What a command gave back of a payment; None if it did not yet."""
        ...

    async def create_customer(self, user_id: UUID, *, email: str, name: str, key: str) -> str:
        """Make the customer of a user."""
        ...

    async def delete_customer(self, customer_id: str) -> None:
        """Have a customer forgotten for good; one that is gone already is no failure."""
        ...

    async def change_email(self, customer_id: str, email: str, *, key: str) -> None:
        """Write to another address from now on."""
        ...

    async def use_payment_method(
        self, customer_id: str, payment_method_id: str, *, key: str
    ) -> None:
        """Attach a payment method and make it the one that future bills are paid with."""
        ...

    async def prefer_payment_method(
        self, customer_id: str, payment_method_id: str, *, key: str
    ) -> None:
        """Make one that is attached already the one that future bills are paid with."""
        ...

    async def subscribe(
        self, customer_id: str, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """Start a subscription and take its first payment, or refuse and start nothing."""
        ...

    async def change_plan(
        self, subscription: Subscription, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """Change the plan now, prorated and paid at once, or refuse and change nothing."""
        ...

    async def schedule_plan(
        self, subscription: Subscription, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """Change the plan when the current period ends, without proration."""
        ...

    async def release_schedule(self, schedule_id: str, *, key: str) -> None:
        """Forget a scheduled change; the subscription goes on as it is."""
        ...

    async def set_cancellation(
        self, subscription: Subscription, *, at_period_end: bool, command_id: UUID, key: str
    ) -> None:
        """Let the subscription end with its period, or not."""
        ...

    async def cancel(self, subscription: Subscription, *, comment: str, key: str) -> None:
        """End the subscription now; gives nothing back."""
        ...

    async def refund(self, share: RefundShare, *, command_id: UUID, key: str) -> None:
        """Give part of a payment back."""
        ...

    async def take_credit(
        self, customer_id: str, amount: Decimal, *, command_id: UUID, key: str
    ) -> None:
        """Keep so much less for later bills, because it was paid out."""
        ...

    async def pay(self, invoice_id: str, *, key: str) -> None:
        """Try to collect an open bill now. One that is paid already stays paid."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """What an event is about: ids only. Its contents are never trusted, its subject is read."""

    id: str
    type: str
    created_at: datetime
    object_id: str | None
    customer_id: str | None


class ForgedEvent(Exception):
    """The signature does not belong to the body, or is too old."""


class MalformedEvent(Exception):
    """The signature is right; the body is no event that we can read."""


class EventVerifier(Protocol):
    """Checks who sent an event."""

    def verify(self, body: bytes, signature: str | None) -> ProviderEvent:
        """Verify the raw body.

        Raises:
            ForgedEvent: it was not signed with our secret, or too long ago.
            MalformedEvent: it is no event.
        """
        ...


class BillingWorkflows(Protocol):
    """The durable workflows of billing; rows were committed before, this only informs.

    Raises:
        WorkflowServiceUnavailable: not delivered; the billing sweep will see the rows.
    """

    async def wake_subscription(self, user_id: UUID) -> None:
        """Make sure that the user's subscription workflow runs, and let it look at its rows."""
        ...

    async def process_event(self, event_id: str) -> None:
        """Make sure that a stored event is processed."""
        ...


# --- rules ---------------------------------------------------------------------------------------


def billed_until(subscription: Subscription, arrears_since: datetime | None) -> datetime | None:
    """When what billing granted ends unless it is renewed; None while nothing ends it."""
    if subscription.status.is_in_arrears:
        return (arrears_since or subscription.period_start) + PAYMENT_GRACE
    return subscription.period_end if subscription.cancel_at_period_end else None


def granted_tier(subscription: Subscription | None, until: datetime | None, now: datetime) -> Tier:
    """The tier that a subscription is good for at `now`."""
    if subscription is None or not subscription.status.grants_plan:
        return Tier.FREE
    return Tier.FREE if until is not None and now >= until else subscription.choice.tier


def entitled_plan(
    tier: Tier,
    *,
    trial_ends_at: datetime | None,
    granted: Tier | None,
    billed_until: datetime | None,
    now: datetime,
) -> Plan:
    """The plan whose limits and features hold: the one answer to *what may this user do*.

    Args:
        tier: the user's stored tier.
        trial_ends_at: end of the free trial.
        granted: the tier that billing stored; None where billing never did.
        billed_until: when that ends (grace over, or cancelled). It bounds what billing granted and
            nothing that an administrator gave.
        now: wall time.
    """
    lapsed = granted is tier and billed_until is not None and now >= billed_until
    return effective_plan(
        Tier.FREE if lapsed else tier, trial_active=is_trial_active(trial_ends_at, now)
    )


def spread_refund(value: Decimal, payments: Sequence[Payment]) -> tuple[RefundShare, ...]:
    """Take a refund from payments in their order, from none more than it can give."""
    left = value
    shares: list[RefundShare] = []
    for payment in payments:
        amount = min(left, payment.refundable)
        if amount > ZERO:
            shares.append(RefundShare(payment.id, amount))
            left -= amount
    return tuple(shares)
