"""Our plan table at Stripe: one price for each paid plan and interval, found by lookup key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from types import MappingProxyType
from typing import Literal

import stripe

from adapters.stripe.calls import reading
from domain.billing import PAID_CHOICES, PlanChoice, ProviderMisconfigured
from domain.plans import PLANS, BillingInterval

CURRENCY = "usd"
KEPT = timedelta(hours=1)
CENTS = Decimal(100)

_INTERVALS: Mapping[BillingInterval, Literal["month", "year"]] = MappingProxyType(
    {BillingInterval.MONTHLY: "month", BillingInterval.YEARLY: "year"}
)


def stripe_interval(interval: BillingInterval) -> Literal["month", "year"]:
    """Stripe's word for an interval."""
    return _INTERVALS[interval]


def cents(amount: Decimal | int) -> int:
    """USD as Stripe's minor units."""
    return int(Decimal(amount) * CENTS)


class PriceBook:
    """The ids of our prices, read when first needed and again every hour."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client
        self._ids: dict[PlanChoice, str] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def price_of(self, choice: PlanChoice) -> str:
        """The price to charge for a plan.

        Raises:
            ProviderMisconfigured: there is none, or it asks for something else than our table.
            ProviderUnavailable: it could not be read.
        """
        await self._refresh()
        found = self._ids.get(choice)
        if found is None:
            raise ProviderMisconfigured(f"Stripe has no usable price {choice.lookup_key}")
        return found

    async def choice_of(self, price_id: str) -> PlanChoice | None:
        """The plan that a price is for."""
        await self._refresh()
        return next((choice for choice, found in self._ids.items() if found == price_id), None)

    async def _refresh(self) -> None:
        async with self._reading:
            fresh = self._read_at is not None and (
                monotonic() - self._read_at < KEPT.total_seconds()
            )
            if fresh and len(self._ids) == len(PAID_CHOICES):
                return
            keys = [choice.lookup_key for choice in PAID_CHOICES]
            async with reading():
                listed = await self._client.v1.prices.list_async(
                    {"lookup_keys": keys, "active": True, "limit": 100}
                )
            self._ids = {
                choice: price.id
                for choice in PAID_CHOICES
                for price in listed.data
                if price.lookup_key == choice.lookup_key and _is_right(price, choice)
            }
            self._read_at = monotonic()


def _is_right(price: stripe.Price, choice: PlanChoice) -> bool:
    """Whether a price charges what `/subscription/plans` says; nobody pays another one."""
    recurring = price.recurring
    return (
        price.unit_amount == cents(PLANS[choice.tier].price(choice.interval))
        and price.currency == CURRENCY
        and recurring is not None
        and recurring.interval == stripe_interval(choice.interval)
        and recurring.interval_count == 1
    )


async def make_prices(client: stripe.StripeClient) -> None:
    """Make the products and prices of our plan table; what exists is left. For operators."""
    for choice in PAID_CHOICES:
        plan = PLANS[choice.tier]
        existing = await client.v1.prices.list_async({"lookup_keys": [choice.lookup_key]})
        if existing.data:
            continue
        product = await client.v1.products.create_async(
            {"name": f"NIJA {plan.name}"}, {"idempotency_key": f"nija:product:{plan.tier.value}"}
        )
        await client.v1.prices.create_async(
            {
                "product": product.id,
                "currency": CURRENCY,
                "unit_amount": cents(plan.price(choice.interval)),
                "recurring": {"interval": stripe_interval(choice.interval)},
                "lookup_key": choice.lookup_key,
            },
            {"idempotency_key": f"nija:price:{choice.lookup_key}"},
        )
