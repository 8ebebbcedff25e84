"""Wire models of Subscription Management."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StringConstraints

from api.kit.wire import Amount, Request, Text, View
from domain.billing import Invoice
from domain.plans import PLANS, BillingInterval, Plan, Tier
from services.billing.subscriptions import Cancelled, Downgraded, Upgraded
from services.billing.usage import calls_limit
from services.billing.views import CurrentView, UsageView

UNLIMITED = -1
"""How the contract writes a limit that does not exist."""

TierName = Literal["free", "basic", "pro", "enterprise"]
IntervalName = Literal["monthly", "yearly"]
PaymentMethodId = Annotated[
    str, StringConstraints(strict=True, pattern=r"^pm_[A-Za-z0-9_]{1,100}$")
]

_SUBSCRIPTION_ID = ["sub_1Pgc6rB7WZ01zgkWNy0Cn5nw"]
_PERIOD_END = ["2026-02-15T00:00:00Z"]


class PlanLimitsItem(View):
    """Numeric limits of a plan."""

    max_position_size_usd: int = Field(examples=[2000], description="0: paper trading only.")
    max_positions: int = Field(examples=[10])
    max_daily_trades: int = Field(examples=[100])
    api_calls_per_minute: int = Field(examples=[100])
    max_brokers: int = Field(examples=[5], description="-1: unlimited.")
    data_retention_days: int = Field(examples=[365], description="-1: for ever.")


class PlanItem(View):
    """One plan; prices in USD."""

    tier: TierName
    name: str = Field(examples=["Pro"])
    price_monthly: int = Field(examples=[149])
    price_yearly: int = Field(examples=[1430])
    yearly_savings: int = Field(examples=[358])
    popular: bool = Field(examples=[True])
    features: list[str] = Field(examples=[["All Basic features", "Meta-AI optimization"]])
    limits: PlanLimitsItem

    @classmethod
    def from_domain(cls, plan: Plan) -> PlanItem:
        """Render a row of the plan table."""
        limits = plan.limits
        return cls(
            tier=plan.tier.value,
            name=plan.name,
            price_monthly=plan.price_monthly,
            price_yearly=plan.price_yearly,
            yearly_savings=plan.yearly_savings,
            popular=plan.popular,
            features=list(plan.selling_points),
            limits=PlanLimitsItem(
                max_position_size_usd=limits.max_position_size_usd,
                max_positions=limits.max_positions,
                max_daily_trades=limits.max_daily_trades,
                api_calls_per_minute=limits.api_calls_per_minute,
                max_brokers=_or_unlimited(limits.max_brokers),
                data_retention_days=_or_unlimited(limits.retention_days),
            ),
        )


class PlansData(View):
    """Every plan, lowest first."""

    plans: list[PlanItem]

    @classmethod
    def all(cls) -> PlansData:
        """Render the plan table."""
        return cls(plans=[PlanItem.from_domain(plan) for plan in PLANS.values()])


class PaymentMethodItem(View):
    """The payment method that bills are paid with; what only cards have is null for others."""

    type: str = Field(examples=["card"])
    last4: str | None = Field(examples=["4242"])
    brand: str | None = Field(examples=["visa"])
    exp_month: int | None = Field(examples=[12])
    exp_year: int | None = Field(examples=[2028])

    @classmethod
    def from_row(cls, stored: dict[str, Any] | None) -> PaymentMethodItem | None:
        """Render what billing stored."""
        if stored is None:
            return None
        return cls(**{name: stored.get(name) for name in cls.model_fields})


class CurrentSubscriptionData(View):
    """The subscription; what only a paid one has is null without one."""

    subscription_id: str | None = Field(examples=_SUBSCRIPTION_ID)
    tier: str = Field(examples=["pro"])
    interval: str | None = Field(examples=["monthly"])
    status: str = Field(
        examples=["active"],
        description="active, trialing, past_due, unpaid, paused, incomplete, canceled, ...",
    )
    current_period_start: datetime
    current_period_end: datetime = Field(examples=_PERIOD_END)
    cancel_at_period_end: bool
    trial_active: bool
    trial_ends_at: datetime | None
    amount: Amount = Field(examples=[149.00])
    currency: str = Field(examples=["USD"])
    payment_method: PaymentMethodItem | None
    next_billing_date: datetime | None
    next_billing_amount: Amount | None = Field(examples=[149.00])
    scheduled_tier: str | None = Field(description="The plan of the next period, if another one.")
    scheduled_interval: str | None
    effective_tier: str = Field(
        examples=["pro"], description="Whose limits hold: pro's during the trial."
    )
    access_until: datetime | None = Field(
        description="When the plan ends: cancelled, or a payment is overdue."
    )

    @classmethod
    def from_domain(cls, view: CurrentView) -> CurrentSubscriptionData:
        """Render where a subscription stands."""
        return cls(
            subscription_id=view.subscription_id,
            tier=view.tier,
            interval=view.interval,
            status=view.status,
            current_period_start=view.period_start,
            current_period_end=view.period_end,
            cancel_at_period_end=view.cancel_at_period_end,
            trial_active=view.trial_active,
            trial_ends_at=view.trial_ends_at,
            amount=view.amount,
            currency="USD",
            payment_method=PaymentMethodItem.from_row(view.payment_method),
            next_billing_date=view.next_billing_date,
            next_billing_amount=view.next_billing_amount,
            scheduled_tier=view.scheduled_tier,
            scheduled_interval=view.scheduled_interval,
            effective_tier=view.effective_tier,
            access_until=view.access_until,
        )


class UpgradeRequest(Request):
    """A plan to pay for from now on."""

    tier: TierName = Field(examples=["enterprise"])
    interval: IntervalName = Field(examples=["yearly"])
    payment_method_id: PaymentMethodId | None = Field(
        default=None, examples=["pm_123abc"], description="May be left out once one is on file."
    )

    @property
    def plan(self) -> tuple[Tier, BillingInterval]:
        """Both as the core knows them."""
        return Tier(self.tier), BillingInterval(self.interval)


class UpgradedData(View):
    """A plan that holds now."""

    subscription_id: str = Field(examples=_SUBSCRIPTION_ID)
    message: str = Field(examples=["Subscription upgraded successfully"])
    tier: str = Field(examples=["enterprise"])
    interval: str = Field(examples=["yearly"])
    amount: Amount = Field(examples=[4790.00], description="Price of a period.")
    proration_credit: Amount = Field(examples=[-45.60], description="For unused time; not above 0.")
    amount_due_now: Amount = Field(examples=[4744.40])
    effective_immediately: bool = True

    @classmethod
    def from_domain(cls, upgraded: Upgraded) -> UpgradedData:
        """Render an upgrade."""
        return cls(
            subscription_id=upgraded.subscription_id,
            message="Subscription upgraded successfully",
            tier=upgraded.choice.tier.value,
            interval=upgraded.choice.interval.value,
            amount=upgraded.amount,
            proration_credit=upgraded.proration_credit,
            amount_due_now=upgraded.amount_due_now,
        )


class DowngradeRequest(Request):
    """A plan to pay for when the current period ends; `free` cancels."""

    tier: TierName = Field(examples=["basic"])
    interval: IntervalName | None = Field(
        default=None, examples=["monthly"], description="As it is, if left out."
    )


class DowngradedData(View):
    """A plan that holds later."""

    subscription_id: str = Field(examples=_SUBSCRIPTION_ID)
    message: str = Field(examples=["Subscription will be downgraded at the end of the period"])
    tier: str = Field(examples=["basic"])
    interval: str = Field(examples=["monthly"])
    amount: Amount = Field(examples=[49.00])
    effective_at: datetime = Field(examples=_PERIOD_END)
    effective_immediately: bool = False

    @classmethod
    def from_domain(cls, downgraded: Downgraded) -> DowngradedData:
        """Render a downgrade."""
        return cls(
            subscription_id=downgraded.subscription_id,
            message="Subscription will be downgraded at the end of the period",
            tier=downgraded.choice.tier.value,
            interval=downgraded.choice.interval.value,
            amount=downgraded.amount,
            effective_at=downgraded.effective_at,
        )


class CancelRequest(Request):
    """When, and why."""

    cancel_immediately: StrictBool = Field(default=False, examples=[False])
    reason: Text | None = Field(default=None, examples=["Too expensive"])
    feedback: Text | None = Field(default=None, examples=["Great product but out of budget"])


class CancelledData(View):
    """A subscription that ended, or ends with its period."""

    message: str = Field(examples=["Subscription cancelled"])
    cancel_at_period_end: bool
    access_until: datetime = Field(examples=_PERIOD_END)
    refund_amount: Amount = Field(examples=[0.00])

    @classmethod
    def from_domain(cls, cancelled: Cancelled) -> CancelledData:
        """Render a cancellation."""
        return cls(
            message="Subscription cancelled",
            cancel_at_period_end=cancelled.cancel_at_period_end,
            access_until=cancelled.access_until,
            refund_amount=cancelled.refund_amount,
        )


class PaymentMethodRequest(Request):
    """Another payment method; from the provider's form, never a card number."""

    payment_method_id: PaymentMethodId = Field(examples=["pm_123abc"])


class PaymentMethodData(View):
    """The payment method that bills are paid with from now on."""

    message: str = Field(examples=["Payment method updated"])
    payment_method: PaymentMethodItem | None


class UsageItem(View):
    """Use of the plan's limits in the period; limits of -1 do not exist."""

    api_calls: int = Field(examples=[12450])
    api_calls_limit: int = Field(examples=[4320000])
    trades_executed: int = Field(examples=[156])
    trades_limit: int = Field(examples=[3000])
    positions_opened: int = Field(examples=[156])
    max_concurrent_positions: int = Field(examples=[8], description="Open or pending now.")
    max_concurrent_positions_limit: int = Field(examples=[10])
    brokers_connected: int = Field(examples=[3])
    brokers_limit: int = Field(examples=[5])


class UsageData(View):
    """Use of the plan's limits."""

    period_start: datetime
    period_end: datetime = Field(examples=_PERIOD_END)
    usage: UsageItem
    overage: bool = Field(description="Never: a limit that is reached refuses.")
    warnings: list[str] = Field(examples=[["2700 of 3000 trades used (90 %)"]])

    @classmethod
    def from_domain(cls, view: UsageView) -> UsageData:
        """Render the use of limits."""
        limits, counts = view.plan.limits, view.counts
        return cls(
            period_start=view.period_start,
            period_end=view.period_end,
            usage=UsageItem(
                api_calls=counts.api_calls,
                api_calls_limit=calls_limit(view.plan),
                trades_executed=counts.trades_executed,
                trades_limit=limits.monthly_trades,
                positions_opened=counts.positions_opened,
                max_concurrent_positions=counts.positions_live,
                max_concurrent_positions_limit=limits.max_positions,
                brokers_connected=counts.brokers_connected,
                brokers_limit=_or_unlimited(limits.max_brokers),
            ),
            overage=False,
            warnings=view.warnings,
        )


class InvoicesQuery(Request):
    """How many."""

    limit: int = Field(default=20, ge=1, le=100)


class InvoiceItem(View):
    """One bill."""

    invoice_id: str = Field(examples=["in_1Pgc6tB7WZ01zgkWu9fdqL6I"])
    number: str | None = Field(examples=["7FE1103-0001"])
    status: str = Field(examples=["paid"], description="open, paid, void or uncollectible")
    created_at: datetime
    period_start: datetime
    period_end: datetime
    total: Amount = Field(examples=[149.00])
    amount_due: Amount = Field(examples=[149.00])
    amount_paid: Amount = Field(examples=[149.00])
    proration_credit: Amount = Field(examples=[0.00])
    currency: str = Field(examples=["USD"])
    hosted_url: str | None
    pdf_url: str | None

    @classmethod
    def from_domain(cls, bill: Invoice) -> InvoiceItem:
        """Render a bill."""
        return cls(
            invoice_id=bill.id,
            number=bill.number,
            status=bill.status,
            created_at=bill.created_at,
            period_start=bill.period_start,
            period_end=bill.period_end,
            total=bill.total,
            amount_due=bill.amount_due,
            amount_paid=bill.amount_paid,
            proration_credit=bill.credit,
            currency=bill.currency,
            hosted_url=bill.url,
            pdf_url=bill.pdf,
        )


class InvoicesData(View):
    """Bills, newest first."""

    invoices: list[InvoiceItem]


def _or_unlimited(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit
