"""Risk levels and limits: what bounds an entry, whoever asks for it.

A *rate* is a fraction of equity (0.01 is one percent). Every limit is a ceiling: combining two of
them takes the lower one and nothing ever raises one. The figures are those of the "risk levels" row
of the contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from domain.markets import Mode
from domain.money import ZERO
from domain.plans import Plan


class RiskLevel(StrEnum):
    """How much a user lets a bot risk."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class RiskProfile:
    """What a risk level means in numbers.

    Attributes:
        level: the level described.
        risk_rate: loss at the stop of one trade, as a fraction of equity.
        exposure_rate: notional of all open and pending positions together, as a fraction of equity.
        entry_score: lowest strategy score that may enter (0 to 5).
        daily_loss_rate: net loss of a UTC day that stops entries, as a fraction of equity.
    """

    level: RiskLevel
    risk_rate: Decimal
    exposure_rate: Decimal
    entry_score: int
    daily_loss_rate: Decimal


RISK_PROFILES: Mapping[RiskLevel, RiskProfile] = MappingProxyType(
    {
        profile.level: profile
        for profile in (
            RiskProfile(RiskLevel.LOW, Decimal("0.005"), Decimal("0.40"), 4, Decimal("0.02")),
            RiskProfile(RiskLevel.MEDIUM, Decimal("0.01"), Decimal("0.60"), 3, Decimal("0.03")),
            RiskProfile(RiskLevel.HIGH, Decimal("0.02"), Decimal("0.80"), 3, Decimal("0.05")),
        )
    }
)


def lower_risk(one: RiskLevel, other: RiskLevel) -> RiskLevel:
    """The more careful of two risk levels."""
    return min(one, other, key=list(RiskLevel).index)


@dataclass(frozen=True, slots=True)
class SettingsLimits:
    """The limits a user set; amounts in the account's currency (USD)."""

    max_position_size: Decimal
    max_positions: int
    max_daily_loss: Decimal


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """The lower of plan and settings, for one mode.

    Attributes:
        may_enter: false where the plan has no live trading and the mode is live.
        max_position_size: notional of one position in USD.
        max_positions: open and pending positions together.
        max_daily_trades: entries a UTC day; paper and live are counted apart.
        max_daily_loss: net loss of a UTC day in USD that stops entries.
    """

    may_enter: bool
    max_position_size: Decimal
    max_positions: int
    max_daily_trades: int
    max_daily_loss: Decimal


def effective_limits(plan: Plan, settings: SettingsLimits, mode: Mode) -> EffectiveLimits:
    """Combine the plan in force with the user's settings.

    A plan without live trading (free, whose `max_position_size_usd` is 0) limits the size of live
    positions only; its paper positions are bounded by the settings alone.
    """
    size = settings.max_position_size
    if mode is Mode.LIVE or plan.features.live_trading:
        size = min(size, Decimal(plan.limits.max_position_size_usd))
    return EffectiveLimits(
        may_enter=mode is Mode.PAPER or plan.features.live_trading,
        max_position_size=size,
        max_positions=min(settings.max_positions, plan.limits.max_positions),
        max_daily_trades=plan.limits.max_daily_trades,
        max_daily_loss=settings.max_daily_loss,
    )


def daily_loss_limit(max_daily_loss: Decimal, profile: RiskProfile, equity: Decimal) -> Decimal:
    """Net loss of a UTC day that stops entries.

    The lower of the setting and the risk level's share of equity.
    """
    return max(ZERO, min(max_daily_loss, profile.daily_loss_rate * equity))


def trading_day(at: datetime) -> date:
    """The UTC day that a venue time belongs to; daily limits restart with it.

    Raises:
        ValueError: the time has no zone, so its day is unknown.
    """
    if at.tzinfo is None:
        raise ValueError("A venue time must be aware")
    return at.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class DailyCounters:
    """What an account (one mode of one user at one venue) did on one UTC day.

    Attributes:
        day: the UTC day.
        entries: entries intended that day, whatever became of the position later; refused intents
            do not count.
        realized_net_pnl: price P&L of the day's exits minus all fees of the day's fills, in USD;
            wins count too.
    """

    day: date
    entries: int = 0
    realized_net_pnl: Decimal = ZERO

    def at(self, now: datetime) -> DailyCounters:
        """These counters if `now` is still their day, fresh ones otherwise."""
        day = trading_day(now)
        return self if day == self.day else DailyCounters(day)

    def net_pnl(self, open_pnl: Decimal) -> Decimal:
        """The figure that the daily loss stop judges: realised plus open P&L."""
        return self.realized_net_pnl + open_pnl
