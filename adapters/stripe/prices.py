"""Our plan table at Stripe: one price for each paid plan and interval, found by lookup key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from types import MappingProxyType
from typing import Literal

import stripe

from adapters.stripe.calls import make_client, make_transport, reading, writing
from domain.billing import PAID_CHOICES, PlanChoice, ProviderMisconfigured
from domain.plans import PLANS, BillingInterval, Tier

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
            raise ProviderMisconfigured(
                f"Stripe has no usable price {choice.lookup_key}; see `nija stripe make-prices`"
            )
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


@dataclass(frozen=True, slots=True)
class StandingPrice:
    """A price at Stripe that is right; `amount` in USD."""

    choice: PlanChoice
    id: str
    amount: int
    is_new: bool


async def make_prices_at(api_key: str, *, api_base: str | None = None) -> Sequence[StandingPrice]:
    """`make_prices` on connections of its own."""
    transport = make_transport()
    try:
        return await make_prices(make_client(api_key, transport, api_base=api_base))
    finally:
        await transport.close_async()  # type: ignore[no-untyped-call]  # untyped there


async def make_prices(client: stripe.StripeClient) -> Sequence[StandingPrice]:
    """Make the products and prices of our plan table; what exists is left. For operators.

    Raises:
        ProviderMisconfigured: an active price asks for something else than our table. Nothing was
            made, and nothing is ever changed: who pays it already goes on paying it.
        ProviderUnavailable, ProviderOutcomeUnknown, ProviderRefused: run it again.
    """
    async with reading():
        listed = await client.v1.prices.list_async(
            {"lookup_keys": [choice.lookup_key for choice in PAID_CHOICES], "limit": 100}
        )
    known = {choice: _named(listed.data, choice) for choice in PAID_CHOICES}
    wrong = [
        f"{choice.lookup_key} ({price.id})"
        for choice, price in known.items()
        if price is not None and price.active and not _is_right(price, choice)
    ]
    if wrong:
        raise ProviderMisconfigured(
            f"These prices ask for something else than our plan table: {', '.join(wrong)}."
            " Archive them at Stripe, then run this again"
        )
    products = {
        choice.tier: price.product if isinstance(price.product, str) else price.product.id
        for choice, price in known.items()
        if price is not None
    }
    standing: list[StandingPrice] = []
    for choice, price in known.items():
        amount = PLANS[choice.tier].price(choice.interval)
        if price is not None and price.active:
            standing.append(StandingPrice(choice, price.id, amount, is_new=False))
            continue
        if choice.tier not in products:
            products[choice.tier] = await _make_product(client, choice.tier)
        made = await _make_price(client, choice, products[choice.tier], archived=price)
        standing.append(StandingPrice(choice, made, amount, is_new=True))
    return standing


def _named(prices: Sequence[stripe.Price], choice: PlanChoice) -> stripe.Price | None:
    return next((price for price in prices if price.lookup_key == choice.lookup_key), None)


async def _make_product(client: stripe.StripeClient, tier: Tier) -> str:
    async with writing():
        product = await client.v1.products.create_async(
            {"name": f"NIJA {PLANS[tier].name}"}, {"idempotency_key": f"nija:product:{tier.value}"}
        )
    return product.id


async def _make_price(
    client: stripe.StripeClient, choice: PlanChoice, product: str, *, archived: stripe.Price | None
) -> str:
    """Make a price; it takes the lookup key over from an archived one."""
    after = archived.id if archived else "none"
    async with writing():
        price = await client.v1.prices.create_async(
            {
                "product": product,
                "currency": CURRENCY,
                "unit_amount": cents(PLANS[choice.tier].price(choice.interval)),
                "recurring": {"interval": stripe_interval(choice.interval)},
                "lookup_key": choice.lookup_key,
                "transfer_lookup_key": archived is not None,
            },
            {"idempotency_key": f"nija:price:{choice.lookup_key}:after:{after}"},
        )
    return price.id
