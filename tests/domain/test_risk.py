from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from domain.markets import Mode
from domain.plans import PLANS, Tier, effective_plan
from domain.risk import (
    RISK_PROFILES,
    DailyCounters,
    RiskLevel,
    SettingsLimits,
    daily_loss_limit,
    effective_limits,
    trading_day,
)

SETTINGS = SettingsLimits(
    max_position_size=Decimal(700), max_positions=4, max_daily_loss=Decimal(200)
)


@pytest.mark.parametrize(
    ("level", "risk", "exposure", "score", "loss"),
    [
        ("low", "0.005", "0.40", 4, "0.02"),
        ("medium", "0.01", "0.60", 3, "0.03"),
        ("high", "0.02", "0.80", 3, "0.05"),
    ],
)
def test_risk_levels(level: str, risk: str, exposure: str, score: int, loss: str) -> None:
    profile = RISK_PROFILES[RiskLevel(level)]
    assert profile.risk_rate == Decimal(risk)
    assert profile.exposure_rate == Decimal(exposure)
    assert profile.entry_score == score
    assert profile.daily_loss_rate == Decimal(loss)


@pytest.mark.parametrize(
    ("tier", "mode", "may_enter", "size", "positions", "trades"),
    [
        (Tier.FREE, Mode.LIVE, False, 0, 3, 10),
        (Tier.FREE, Mode.PAPER, True, 700, 3, 10),
        (Tier.BASIC, Mode.LIVE, True, 500, 4, 30),
        (Tier.BASIC, Mode.PAPER, True, 500, 4, 30),
        (Tier.PRO, Mode.LIVE, True, 700, 4, 100),
    ],
)
def test_the_lower_of_plan_and_settings_holds(
    tier: Tier, mode: Mode, may_enter: bool, size: int, positions: int, trades: int
) -> None:
    limits = effective_limits(PLANS[tier], SETTINGS, mode)
    assert limits.may_enter is may_enter
    assert limits.max_position_size == size
    assert limits.max_positions == positions
    assert limits.max_daily_trades == trades
    assert limits.max_daily_loss == 200


def test_the_trial_trades_live_with_the_limits_of_pro() -> None:
    plan = effective_plan(Tier.FREE, trial_active=True)
    assert effective_limits(plan, SETTINGS, Mode.LIVE) == effective_limits(
        PLANS[Tier.PRO], SETTINGS, Mode.LIVE
    )


@pytest.mark.parametrize(
    ("setting", "equity", "limit"),
    [("200", "10000", "200"), ("500", "10000", "300"), ("200", "-5", "0"), ("0", "10000", "0")],
)
def test_the_daily_loss_limit_is_the_lower_one(setting: str, equity: str, limit: str) -> None:
    profile = RISK_PROFILES[RiskLevel.MEDIUM]
    assert daily_loss_limit(Decimal(setting), profile, Decimal(equity)) == Decimal(limit)


def test_a_day_is_a_utc_day() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert trading_day(datetime(2026, 1, 6, 3, 0, tzinfo=tokyo)) == date(2026, 1, 5)
    with pytest.raises(ValueError, match="aware"):
        trading_day(datetime(2026, 1, 6, 3, 0))  # noqa: DTZ001


def test_counters_start_again_with_the_utc_day() -> None:
    counters = DailyCounters(date(2026, 1, 5), entries=3, realized_net_pnl=Decimal(-150))
    assert counters.at(datetime(2026, 1, 5, 23, 59, tzinfo=UTC)) is counters
    assert counters.at(datetime(2026, 1, 6, tzinfo=UTC)) == DailyCounters(date(2026, 1, 6))


def test_open_gains_offset_realised_losses() -> None:
    counters = DailyCounters(date(2026, 1, 5), realized_net_pnl=Decimal(-150))
    assert counters.net_pnl(Decimal(100)) == -50
