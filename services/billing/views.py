"""Reading: the subscription as it stands, the use of its limits, and the bills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import BillingProvider, Invoice, ProviderMisconfigured, ProviderUnavailable
from domain.billing import SubscriptionStatus as Status
from domain.plans import PLANS, BillingInterval, Plan, Tier, is_trial_active
from domain.ports import WallClock
from domain.principal import Principal
from models.billing import Subscription as Row
from models.people import User
from services.billing.entitlements import plan_of
from services.billing.errors import BillingNotSetUp, BillingUnavailable
from services.billing.rows import find_row
from services.billing.usage import (
    Counts,
    count_usage,
    current_period,
    usage_period,
    warnings_of,
)
from services.database import Database

INVOICES_MAX = 100


@dataclass(frozen=True, slots=True)
class CurrentView:
    """Where a user's subscription stands; most is None while nothing is paid for."""

    subscription_id: str | None
    tier: str
    interval: str | None
    status: str
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    trial_active: bool
    trial_ends_at: datetime | None
    amount: Decimal
    payment_method: dict[str, Any] | None
    next_billing_date: datetime | None
    next_billing_amount: Decimal | None
    scheduled_tier: str | None
    scheduled_interval: str | None
    effective_tier: str
    access_until: datetime | None


@dataclass(frozen=True, slots=True)
class UsageView:
    """Use of the plan's limits in the current period."""

    period_start: datetime
    period_end: datetime
    plan: Plan
    counts: Counts
    warnings: list[str]


class BillingViews:
    """The read side; `provider` is None where no payment provider is set up."""

    def __init__(
        self, database: Database, provider: BillingProvider | None, clock: WallClock
    ) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock

    async def current(self, principal: Principal) -> CurrentView:
        """The subscription, from our own rows."""
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            user = (await session.exec(select(User).where(User.id == principal.user_id))).one()
            row = await find_row(session, principal.user_id)
            plan = await plan_of(session, principal.user_id, now)
        in_trial = is_trial_active(user.trial_ends_at, now)
        start, end = current_period(row, now)
        live = row if row is not None and _is_live(row) else None
        following = None if live is None else _next_price(live)
        return CurrentView(
            subscription_id=row.provider_id if row else None,
            tier=user.subscription_tier,
            interval=live.interval if live else None,
            status=_status(row, in_trial=in_trial),
            period_start=start,
            period_end=end,
            cancel_at_period_end=live.cancel_at_period_end if live else False,
            trial_active=in_trial,
            trial_ends_at=user.trial_ends_at,
            amount=Decimal(0) if live is None else _price(live.tier, live.interval),
            payment_method=row.payment_method if row else None,
            next_billing_date=end if following is not None else None,
            next_billing_amount=following,
            scheduled_tier=live.scheduled_tier if live else None,
            scheduled_interval=live.scheduled_interval if live else None,
            effective_tier=plan.tier.value,
            access_until=live.billed_until if live else None,
        )

    async def usage(self, principal: Principal) -> UsageView:
        """What was used in the current period, and what is nearly used up."""
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            row = await find_row(session, principal.user_id)
            plan = await plan_of(session, principal.user_id, now)
            start, end = usage_period(row, now)
            counts = await count_usage(session, principal.user_id, start, end)
        return UsageView(start, end, plan, counts, warnings_of(counts, plan))

    async def invoices(self, principal: Principal, *, limit: int) -> Sequence[Invoice]:
        """Bills, newest first, as the provider has them.

        Raises:
            BillingNotSetUp: there is no provider.
            BillingUnavailable: it does not answer.
        """
        if self._provider is None:
            raise BillingNotSetUp
        async with self._database.for_user(principal.user_id) as session:
            customer_id = await _customer_id(session, principal)
        if customer_id is None:
            return []
        try:
            return await self._provider.invoices(customer_id, limit=min(limit, INVOICES_MAX))
        except (ProviderUnavailable, ProviderMisconfigured) as failure:
            raise BillingUnavailable("The payment provider does not answer at present") from failure


async def _customer_id(session: AsyncSession, principal: Principal) -> str | None:
    row = await find_row(session, principal.user_id)
    return None if row is None else row.customer_id


def _is_live(row: Row) -> bool:
    return row.status is not None and Status(row.status).is_live


def _status(row: Row | None, *, in_trial: bool) -> str:
    if row is not None and row.status is not None and (_is_live(row) or not in_trial):
        return row.status
    return Status.TRIALING.value if in_trial else Status.ACTIVE.value


def _price(tier: str | None, interval: str | None) -> Decimal:
    assert tier is not None
    assert interval is not None, "a live subscription has both"
    return Decimal(PLANS[Tier(tier)].price(BillingInterval(interval)))


def _next_price(row: Row) -> Decimal | None:
    if row.cancel_at_period_end:
        return None
    if row.scheduled_tier is not None:
        return _price(row.scheduled_tier, row.scheduled_interval)
    return _price(row.tier, row.interval)
