from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.plans import (
    PAYMENT_GRACE,
    PLANS,
    TRIAL_LENGTH,
    BillingInterval,
    Feature,
    Tier,
    effective_plan,
    is_trial_active,
    lowest_tier_with,
)

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tier", "month", "year", "savings", "size", "positions", "trades", "calls", "brokers", "days"),
    [
        ("free", 0, 0, 0, 0, 3, 10, 10, 1, 30),
        ("basic", 49, 470, 118, 500, 5, 30, 30, 2, 90),
        ("pro", 149, 1430, 358, 2000, 10, 100, 100, 5, 365),
        ("enterprise", 499, 4790, 1198, 10000, 50, 500, 500, None, None),
    ],
)
def test_the_published_table(
    tier: str,
    month: int,
    year: int,
    savings: int,
    size: int,
    positions: int,
    trades: int,
    calls: int,
    brokers: int | None,
    days: int | None,
) -> None:
    plan = PLANS[Tier(tier)]
    assert plan.price(BillingInterval.MONTHLY) == month
    assert plan.price(BillingInterval.YEARLY) == year
    assert plan.yearly_savings == savings
    assert plan.limits.max_position_size_usd == size
    assert plan.limits.max_positions == positions
    assert plan.limits.max_daily_trades == trades
    assert plan.limits.monthly_trades == trades * 30
    assert plan.limits.api_calls_per_minute == calls
    assert plan.limits.max_brokers == brokers
    assert plan.limits.retention_days == days
    assert plan.popular is (tier == "pro")


@pytest.mark.parametrize(
    ("feature", "tier"),
    [
        (Feature.LIVE_TRADING, Tier.BASIC),
        (Feature.WEBSOCKET, Tier.BASIC),
        (Feature.TRADINGVIEW_WEBHOOK, Tier.PRO),
        (Feature.META_AI, Tier.PRO),
        (Feature.MMIN, Tier.PRO),
        (Feature.CUSTOM_RISK, Tier.PRO),
        (Feature.GMIG, Tier.ENTERPRISE),
        (Feature.API_ACCESS, Tier.ENTERPRISE),
        (Feature.WHITE_LABEL, Tier.ENTERPRISE),
        (Feature.MULTI_ACCOUNT, Tier.ENTERPRISE),
    ],
)
def test_features_start_at_a_tier_and_stay(feature: Feature, tier: Tier) -> None:
    assert lowest_tier_with(feature) is tier
    for other, plan in PLANS.items():
        assert plan.features.allows(feature) is (other.rank >= tier.rank)


@pytest.mark.parametrize("tier", list(Tier))
def test_the_trial_lifts_lower_tiers_to_pro(tier: Tier) -> None:
    expected = Tier.ENTERPRISE if tier is Tier.ENTERPRISE else Tier.PRO
    assert effective_plan(tier, trial_active=True).tier is expected
    assert effective_plan(tier, trial_active=False).tier is tier


def test_the_trial_ends_on_time() -> None:
    ends_at = NOW + TRIAL_LENGTH
    assert timedelta(days=14) == TRIAL_LENGTH
    assert timedelta(days=7) == PAYMENT_GRACE
    assert is_trial_active(ends_at, ends_at - timedelta(microseconds=1))
    assert not is_trial_active(ends_at, ends_at)
    assert not is_trial_active(None, NOW)
