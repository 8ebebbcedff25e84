"""domain.billing.BillingProvider on Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import stripe
import structlog

from adapters.stripe.calls import make_client, make_transport, reading, writing
from adapters.stripe.funds import credit_of, payments_behind
from adapters.stripe.parse import (
    COMMAND,
    PLAN,
    USER,
    id_of,
    invoice_of,
    metadata_of,
    method_of,
    moment,
    subscription_of,
    usd,
)
from adapters.stripe.prices import CURRENCY, PriceBook, cents, stripe_interval
from domain.billing import (
    Dispute,
    Funds,
    Invoice,
    Payment,
    PlanChoice,
    ProviderRefused,
    RefundShare,
    RefusalReason,
    Snapshot,
    Subscription,
)

PAGE = 100
REFUND_ENDED = frozenset({"failed", "canceled"})

_log = structlog.get_logger("nija.stripe")


class StripeProvider:
    """Reads and keyed writes; no request is repeated in here."""

    def __init__(self, client: stripe.StripeClient, transport: stripe.AIOHTTPClient) -> None:
        self._v1 = client.v1
        self._transport = transport
        self._prices = PriceBook(client)

    @classmethod
    def connect(cls, api_key: str, *, api_base: str | None = None) -> StripeProvider:
        """A provider with connections of its own; `close` releases them.

        Args:
            api_key: `sk_...`.
            api_base: another server than Stripe's own.
        """
        transport = make_transport()
        return cls(make_client(api_key, transport, api_base=api_base), transport)

    async def close(self) -> None:
        """Release connections."""
        await self._transport.close_async()  # type: ignore[no-untyped-call]  # untyped there

    # --- reads ------------------------------------------------------------------------------

    async def find_customer(self, user_id: UUID) -> str | None:
        """Search by metadata; a customer of the last minute may not be listed yet."""
        async with reading():
            found = await self._v1.customers.search_async(
                {"query": f"metadata['{USER}']:'{user_id}'", "limit": 1}
            )
        return found.data[0].id if found.data else None

    async def owner_of(self, customer_id: str) -> UUID | None:
        """The user in a customer's metadata."""
        async with reading():
            customer = await self._v1.customers.retrieve_async(customer_id)
        named = metadata_of(customer).get(USER)
        try:
            return UUID(named) if named else None
        except ValueError:
            return None

    async def look(self, customer_id: str) -> Snapshot:
        """Subscriptions and default payment method, both read now."""
        async with reading():
            listed, customer = await asyncio.gather(
                self._v1.subscriptions.list_async(
                    {
                        "customer": customer_id,
                        "status": "all",
                        "limit": PAGE,
                        "expand": ["data.latest_invoice", "data.schedule"],
                    }
                ),
                self._v1.customers.retrieve_async(
                    customer_id, {"expand": ["invoice_settings.default_payment_method"]}
                ),
            )
        parsed = [await subscription_of(raw, self._prices) for raw in listed.data]
        ours = [one for one in parsed if one is not None]
        if sum(one.status.is_live for one in ours) > 1:
            _log.error("stripe.two_live_subscriptions", customer_id=customer_id)
        chosen = max(ours, key=lambda one: (one.status.is_live, one.created_at), default=None)
        settings = None if getattr(customer, "deleted", False) else customer.invoice_settings
        method = settings.default_payment_method if settings else None
        return Snapshot(
            customer_id,
            chosen,
            method_of(method) if isinstance(method, stripe.PaymentMethod) else None,
        )

    async def invoices(self, customer_id: str, *, limit: int) -> Sequence[Invoice]:
        """Bills that were issued, newest first."""
        async with reading():
            listed = await self._v1.invoices.list_async({"customer": customer_id, "limit": limit})
        return [invoice_of(raw) for raw in listed.data if raw.status != "draft"]

    async def unused_value(self, subscription: Subscription) -> Decimal:
        """What Stripe would credit if the subscription ended now."""
        async with reading():
            preview = await self._v1.invoices.create_preview_async(
                {
                    "subscription": subscription.id,
                    "subscription_details": {
                        "cancel_now": True,
                        "proration_behavior": "create_prorations",
                    },
                }
            )
        return usd(-sum(line.amount for line in preview.lines.data if line.amount < 0))

    async def open_bills(self, subscription: Subscription) -> Sequence[Invoice]:
        """Bills of a subscription that Stripe still wants paid."""
        async with reading():
            listed = await self._v1.invoices.list_async(
                {"subscription": subscription.id, "status": "open", "limit": PAGE}
            )
        return sorted((invoice_of(raw) for raw in listed.data), key=lambda bill: bill.created_at)

    async def funds(self, subscription: Subscription) -> Funds:
        """Bills and the balance's entries of the customer: credit outlives a subscription."""
        customer_id = subscription.customer_id
        async with reading():
            bills, entries, customer = await asyncio.gather(
                self._v1.invoices.list_async(
                    {
                        "customer": customer_id,
                        "status": "paid",
                        "limit": PAGE,
                        "expand": ["data.payments"],
                    }
                ),
                self._v1.customers.balance_transactions.list_async(customer_id, {"limit": PAGE}),
                self._v1.customers.retrieve_async(customer_id),
            )
        credit = credit_of(entries.data, bills.data, customer.balance)
        return Funds(
            [
                Payment(
                    intent, amount, sum((one for _, one in await self._refunds(intent)), Decimal(0))
                )
                for intent, amount in payments_behind(bills.data, subscription, credit)
            ],
            credit.held,
        )

    async def keeps_credit(self, customer_id: str) -> bool:
        """By the balance, in which credit is negative."""
        async with reading():
            customer = await self._v1.customers.retrieve_async(customer_id)
        return not getattr(customer, "deleted", False) and (customer.balance or 0) < 0

    async def credit_taken_by(self, command_id: UUID, customer_id: str) -> bool:
        """By the command's id in the entry's metadata."""
        named = str(command_id)
        async with reading():
            entries = await self._v1.customers.balance_transactions.list_async(
                customer_id, {"limit": PAGE}
            )
        return any(metadata_of(entry).get(COMMAND) == named for entry in entries.data)

    async def dispute(self, dispute_id: str) -> Dispute:
        """The dispute, and the customer of the charge that it is about."""
        async with reading():
            raw = await self._v1.disputes.retrieve_async(dispute_id, {"expand": ["charge"]})
        charge = raw.charge if isinstance(raw.charge, stripe.Charge) else None
        return Dispute(
            id=raw.id,
            customer_id=id_of(charge.customer) if charge else None,
            payment_id=id_of(raw.payment_intent),
            amount=usd(raw.amount),
            currency=raw.currency.upper(),
            reason=raw.reason,
            status=raw.status,
            answer_due_at=moment(raw.evidence_details.due_by)
            if raw.evidence_details.due_by
            else None,
        )

    async def refunded_by(self, command_id: UUID, payment_id: str) -> Decimal | None:
        """What a command gave back, by the command's id in the refund's metadata."""
        named = str(command_id)
        return next(
            (amount for command, amount in await self._refunds(payment_id) if command == named),
            None,
        )

    async def _refunds(self, payment_id: str) -> list[tuple[str | None, Decimal]]:
        async with reading():
            listed = await self._v1.refunds.list_async(
                {"payment_intent": payment_id, "limit": PAGE}
            )
        return [
            (metadata_of(raw).get(COMMAND), usd(raw.amount))
            for raw in listed.data
            if raw.status not in REFUND_ENDED
        ]

    # --- writes -----------------------------------------------------------------------------

    async def create_customer(self, user_id: UUID, *, email: str, name: str, key: str) -> str:
        """Make a customer that names our user."""
        async with writing():
            customer = await self._v1.customers.create_async(
                {"email": email, "name": name, "metadata": {USER: str(user_id)}},
                {"idempotency_key": key},
            )
        return customer.id

    async def delete_customer(self, customer_id: str) -> None:
        """Delete: Stripe ends what is left of the customer's plans and keeps the bills.

        Deleting takes no idempotency key; a repeat is told that there is no such customer.
        """
        try:
            async with writing():
                await self._v1.customers.delete_async(customer_id)
        except ProviderRefused as refused:
            if refused.code != "resource_missing":
                raise

    async def change_email(self, customer_id: str, email: str, *, key: str) -> None:
        """Stripe mails receipts and what it asks of the payer to this address."""
        async with writing():
            await self._v1.customers.update_async(
                customer_id, {"email": email}, {"idempotency_key": key}
            )

    async def use_payment_method(
        self, customer_id: str, payment_method_id: str, *, key: str
    ) -> None:
        """Attach and make the default; a test id becomes a method of its own by attaching."""
        async with writing(RefusalReason.PAYMENT_METHOD):
            attached = await self._v1.payment_methods.attach_async(
                payment_method_id,
                {"customer": customer_id},
                {"idempotency_key": f"{key}:attach"},
            )
        await self.prefer_payment_method(customer_id, attached.id, key=f"{key}:default")

    async def prefer_payment_method(
        self, customer_id: str, payment_method_id: str, *, key: str
    ) -> None:
        """Make an attached method the default."""
        async with writing(RefusalReason.PAYMENT_METHOD):
            await self._v1.customers.update_async(
                customer_id,
                {"invoice_settings": {"default_payment_method": payment_method_id}},
                {"idempotency_key": key},
            )

    async def subscribe(
        self, customer_id: str, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """Create; `error_if_incomplete` leaves nothing behind when the card is declined."""
        price = await self._prices.price_of(choice)
        async with writing():
            await self._v1.subscriptions.create_async(
                {
                    "customer": customer_id,
                    "items": [{"price": price}],
                    "payment_behavior": "error_if_incomplete",
                    "metadata": _metadata(choice, command_id),
                },
                {"idempotency_key": key},
            )

    async def change_plan(
        self, subscription: Subscription, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """Exchange the item's price, with the proration billed and paid at once."""
        price = await self._prices.price_of(choice)
        item_id = await self._item_of(subscription)
        async with writing():
            await self._v1.subscriptions.update_async(
                subscription.id,
                {
                    "items": [{"id": item_id, "price": price}],
                    "proration_behavior": "always_invoice",
                    "payment_behavior": "error_if_incomplete",
                    "cancel_at_period_end": False,
                    "metadata": _metadata(choice, command_id),
                },
                {"idempotency_key": key},
            )

    async def _item_of(self, subscription: Subscription) -> str:
        async with reading():
            raw = await self._v1.subscriptions.retrieve_async(subscription.id)
        item_id: str = raw["items"].data[0].id
        return item_id

    async def schedule_plan(
        self, subscription: Subscription, choice: PlanChoice, *, command_id: UUID, key: str
    ) -> None:
        """A schedule: the current phase as it is, then the new price; then it lets go."""
        price = await self._prices.price_of(choice)
        schedule = await self._schedule_for(subscription, key)
        now = schedule.current_phase
        current = next(
            phase for phase in schedule.phases if now and phase.start_date == now.start_date
        )
        async with writing():
            await self._v1.subscription_schedules.update_async(
                schedule.id,
                {
                    "end_behavior": "release",
                    "proration_behavior": "none",
                    "phases": [
                        {
                            "items": [{"price": id_of(current["items"][0].price) or ""}],
                            "start_date": current.start_date,
                            "end_date": int(subscription.period_end.timestamp()),
                            "proration_behavior": "none",
                        },
                        {
                            "items": [{"price": price}],
                            "duration": {
                                "interval": stripe_interval(choice.interval),
                                "interval_count": 1,
                            },
                            "proration_behavior": "none",
                            "metadata": _metadata(choice, command_id),
                        },
                    ],
                },
                {"idempotency_key": f"{key}:phases"},
            )

    async def _schedule_for(
        self, subscription: Subscription, key: str
    ) -> stripe.SubscriptionSchedule:
        if subscription.schedule_id is not None:
            async with reading():
                return await self._v1.subscription_schedules.retrieve_async(
                    subscription.schedule_id
                )
        async with writing():
            return await self._v1.subscription_schedules.create_async(
                {"from_subscription": subscription.id}, {"idempotency_key": f"{key}:create"}
            )

    async def release_schedule(self, schedule_id: str, *, key: str) -> None:
        """Let go of a schedule."""
        async with writing():
            await self._v1.subscription_schedules.release_async(
                schedule_id, {}, {"idempotency_key": key}
            )

    async def set_cancellation(
        self, subscription: Subscription, *, at_period_end: bool, command_id: UUID, key: str
    ) -> None:
        """Set or take back the end with the period."""
        async with writing():
            await self._v1.subscriptions.update_async(
                subscription.id,
                {"cancel_at_period_end": at_period_end, "metadata": {COMMAND: str(command_id)}},
                {"idempotency_key": key},
            )

    async def cancel(self, subscription: Subscription, *, comment: str, key: str) -> None:
        """End now, without a last bill; the refund is a step of its own.

        Stripe keeps no key for this call: a repeat is refused, and the subscription tells why.
        """
        try:
            async with writing():
                await self._v1.subscriptions.cancel_async(
                    subscription.id,
                    {
                        "invoice_now": False,
                        "prorate": False,
                        "cancellation_details": {"comment": comment},
                    },
                    {"idempotency_key": key},
                )
        except ProviderRefused:
            async with reading():
                found = await self._v1.subscriptions.retrieve_async(subscription.id)
            if found.status != "canceled":
                raise

    async def refund(self, share: RefundShare, *, command_id: UUID, key: str) -> None:
        """Give part of a payment back."""
        async with writing():
            await self._v1.refunds.create_async(
                {
                    "payment_intent": share.payment_id,
                    "amount": cents(share.amount),
                    "metadata": {COMMAND: str(command_id)},
                },
                {"idempotency_key": key},
            )

    async def take_credit(
        self, customer_id: str, amount: Decimal, *, command_id: UUID, key: str
    ) -> None:
        """Book the credit out of the balance; Stripe does not do so for a refund."""
        async with writing():
            await self._v1.customers.balance_transactions.create_async(
                customer_id,
                {
                    "amount": cents(amount),
                    "currency": CURRENCY,
                    "description": "Refunded",
                    "metadata": {COMMAND: str(command_id)},
                },
                {"idempotency_key": key},
            )

    async def pay(self, invoice_id: str, *, key: str) -> None:
        """Collect; a refusal of a bill that turns out to be paid is none."""
        try:
            async with writing():
                await self._v1.invoices.pay_async(invoice_id, {}, {"idempotency_key": key})
        except ProviderRefused as refused:
            if refused.reason is not RefusalReason.OTHER:
                raise
            async with reading():
                invoice = await self._v1.invoices.retrieve_async(invoice_id)
            if invoice.status != "paid":
                raise


def _metadata(choice: PlanChoice, command_id: UUID) -> dict[str, str]:
    return {COMMAND: str(command_id), PLAN: choice.lookup_key}
