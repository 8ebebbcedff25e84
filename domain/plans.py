"""The one plan table: prices, limits and features of every tier.

`/subscription/plans` serves it and every check of every dialect asks it. Prices are in USD. Numbers
and feature lists are those of the published contract; retention comes from its architecture
documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

TRIAL_LENGTH = timedelta(days=14)
"""How long a new user has the limits of `TRIAL_TIER`."""

PAYMENT_GRACE = timedelta(days=7)
"""How long a plan outlives a failed payment."""

_DAYS_A_MONTH = 30
_MONTHS_A_YEAR = 12


class Tier(StrEnum):
    """Subscription tiers, lowest first."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """Position in the order of tiers; a higher one includes the lower."""
        return list(Tier).index(self)


TRIAL_TIER = Tier.PRO


class BillingInterval(StrEnum):
    """How often a plan is paid."""

    MONTHLY = "monthly"
    YEARLY = "yearly"


class Feature(StrEnum):
    """What a plan may unlock, besides numbers."""

    LIVE_TRADING = "live_trading"
    WEBSOCKET = "websocket"
    TRADINGVIEW_WEBHOOK = "tradingview_webhook"
    META_AI = "meta_ai"
    MMIN = "mmin"
    CUSTOM_RISK = "custom_risk"
    GMIG = "gmig"
    API_ACCESS = "api_access"
    WHITE_LABEL = "white_label"
    MULTI_ACCOUNT = "multi_account"


@dataclass(frozen=True, slots=True)
class PlanFeatures:
    """Feature flags of a plan."""

    live_trading: bool = False
    websocket: bool = False
    tradingview_webhook: bool = False
    meta_ai: bool = False
    mmin: bool = False
    custom_risk: bool = False
    gmig: bool = False
    api_access: bool = False
    white_label: bool = False
    multi_account: bool = False

    def allows(self, feature: Feature) -> bool:
        """Whether the plan includes a feature."""
        return bool(getattr(self, feature.value))


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """Numeric limits of a plan.

    Attributes:
        max_position_size_usd: largest live position; 0 means no live position at all.
        max_positions: open and pending positions of an account.
        max_daily_trades: entries of an account a UTC day.
        api_calls_per_minute: requests of a user a minute (sliding window).
        max_brokers: stored venue connections; None is unlimited.
        retention_days: how far back history is shown; None is for ever.
        exports_per_day: files of exports a user may ask for, a UTC day.
        live_connections: open connections for live updates of a user to one API process.
    """

    max_position_size_usd: int
    max_positions: int
    max_daily_trades: int
    api_calls_per_minute: int
    max_brokers: int | None
    retention_days: int | None
    exports_per_day: int
    live_connections: int

    @property
    def monthly_trades(self) -> int:
        """The `trades_limit` of the usage report: thirty days of the daily limit."""
        return self.max_daily_trades * _DAYS_A_MONTH


@dataclass(frozen=True, slots=True)
class Plan:
    """One row of the table; prices in whole USD, `selling_points` as published."""

    tier: Tier
    name: str
    price_monthly: int
    price_yearly: int
    selling_points: tuple[str, ...]
    limits: PlanLimits
    features: PlanFeatures
    popular: bool = False

    @property
    def yearly_savings(self) -> int:
        """What twelve monthly payments cost more than a yearly one."""
        return self.price_monthly * _MONTHS_A_YEAR - self.price_yearly

    def price(self, interval: BillingInterval) -> int:
        """Price of one period in whole USD."""
        return self.price_monthly if interval is BillingInterval.MONTHLY else self.price_yearly


_FREE = Plan(
    tier=Tier.FREE,
    name="Free",
    price_monthly=0,
    price_yearly=0,
    selling_points=(
        "Paper trading only",
        "Basic strategy (APEX V7.2)",
        "1 exchange connection",
        "Community support",
        "Basic analytics",
    ),
    limits=PlanLimits(
        max_position_size_usd=0,
        max_positions=3,
        max_daily_trades=10,
        api_calls_per_minute=10,
        max_brokers=1,
        retention_days=30,
        exports_per_day=5,
        live_connections=0,
    ),
    features=PlanFeatures(),
)

_BASIC = Plan(
    tier=Tier.BASIC,
    name="Basic",
    price_monthly=49,
    price_yearly=470,
    selling_points=(
        "Live trading",
        "APEX V7.2 strategy",
        "2 exchange connections",
        "Email support",
        "Standard analytics",
        "Mobile app access",
    ),
    limits=PlanLimits(
        max_position_size_usd=500,
        max_positions=5,
        max_daily_trades=30,
        api_calls_per_minute=30,
        max_brokers=2,
        retention_days=90,
        exports_per_day=20,
        live_connections=5,
    ),
    features=PlanFeatures(live_trading=True, websocket=True),
)

_PRO = Plan(
    tier=Tier.PRO,
    name="Pro",
    price_monthly=149,
    price_yearly=1430,
    popular=True,
    selling_points=(
        "All Basic features",
        "Meta-AI optimization",
        "MMIN multi-market intelligence",
        "5 exchange connections",
        "Priority support",
        "Advanced analytics",
        "Custom risk profiles",
        "TradingView integration",
    ),
    limits=PlanLimits(
        max_position_size_usd=2000,
        max_positions=10,
        max_daily_trades=100,
        api_calls_per_minute=100,
        max_brokers=5,
        retention_days=365,
        exports_per_day=50,
        live_connections=10,
    ),
    features=PlanFeatures(
        live_trading=True,
        websocket=True,
        tradingview_webhook=True,
        meta_ai=True,
        mmin=True,
        custom_risk=True,
    ),
)

_ENTERPRISE = Plan(
    tier=Tier.ENTERPRISE,
    name="Enterprise",
    price_monthly=499,
    price_yearly=4790,
    selling_points=(
        "All Pro features",
        "GMIG macro intelligence",
        "Unlimited exchanges",
        "Dedicated support",
        "Custom strategy tuning",
        "API access",
        "White-label option",
        "Multi-account management",
    ),
    limits=PlanLimits(
        max_position_size_usd=10000,
        max_positions=50,
        max_daily_trades=500,
        api_calls_per_minute=500,
        max_brokers=None,
        retention_days=None,
        exports_per_day=200,
        live_connections=50,
    ),
    features=PlanFeatures(
        live_trading=True,
        websocket=True,
        tradingview_webhook=True,
        meta_ai=True,
        mmin=True,
        custom_risk=True,
        gmig=True,
        api_access=True,
        white_label=True,
        multi_account=True,
    ),
)

PLANS: Mapping[Tier, Plan] = MappingProxyType(
    {plan.tier: plan for plan in (_FREE, _BASIC, _PRO, _ENTERPRISE)}
)
"""Every plan, lowest tier first."""


def is_trial_active(trial_ends_at: datetime | None, now: datetime) -> bool:
    """Whether the trial still runs at `now` (wall clock); its end is exclusive."""
    return trial_ends_at is not None and now < trial_ends_at


def effective_plan(tier: Tier, *, trial_active: bool) -> Plan:
    """The plan whose limits and features hold.

    During the trial these are pro's, while the subscription's tier goes on reading `free`. A tier
    above the trial's keeps its own.
    """
    if trial_active and tier.rank < TRIAL_TIER.rank:
        return PLANS[TRIAL_TIER]
    return PLANS[tier]


def lowest_tier_with(feature: Feature) -> Tier:
    """The tier to name in a refusal: the lowest one that includes the feature."""
    return next(tier for tier, plan in PLANS.items() if plan.features.allows(feature))
