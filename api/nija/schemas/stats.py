"""Wire models of account statistics."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.kit.wire import Amount, Ratio, View, wire_id
from domain.markets import Mode
from services.account_views.stats import BestMonth, StatsView, Streak


class StatsAccount(View):
    """The account. Deposits include what it began with."""

    user_id: str = Field(examples=["usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    subscription_tier: str = Field(examples=["pro"])
    account_age_days: int = Field(examples=[45], description="Since the user registered.")
    total_deposits: Amount = Field(examples=[10000.00])
    total_withdrawals: Amount = Field(examples=[0.00])
    flows_unpriced: list[str] = Field(
        examples=[["STAKED"]],
        description="Came or went without a price then, and left out of deposits and withdrawals.",
    )
    current_balance: Amount = Field(examples=[12212.05], description="Equity.")
    unpriced: list[str] = Field(
        examples=[["STAKED"]], description="Held, without a price, and left out of it."
    )
    equity_is_lower_bound: bool = Field(description="Whether anything is left out.")
    all_time_high: Amount = Field(
        examples=[12450.80],
        description="Of the equity curve (opening equity plus net P&L) at the ends of days and at "
        "present, what is open included; deposits and withdrawals do not move it.",
    )
    all_time_low: Amount = Field(examples=[9850.20], description="The lowest of the same.")
    broker: str = Field(examples=["coinbase"])
    mode: Mode


class BestMonthItem(View):
    """The month with the highest net P&L; `pnl` is before fees, percent of the capital it had."""

    month: str = Field(examples=["2026-01"])
    pnl: Amount = Field(examples=[2340.50])
    pnl_pct: Ratio = Field(examples=[23.41])
    net_pnl: Amount = Field(examples=[2212.05])

    @classmethod
    def from_domain(cls, best: BestMonth) -> BestMonthItem:
        """Render a month."""
        return cls(month=best.month, pnl=best.price_pnl, pnl_pct=best.pnl_pct, net_pnl=best.net_pnl)


class StreakItem(View):
    """Trades won or lost in a row up to the last one."""

    type: str = Field(examples=["winning"], description="winning, losing, or none.")
    count: int = Field(examples=[5])
    started: datetime | None = Field(description="Venue time at which the first of them closed.")

    @classmethod
    def from_domain(cls, streak: Streak) -> StreakItem:
        """Render a streak."""
        return cls(type=streak.kind, count=streak.count, started=streak.started)


class StatsTrading(View):
    """All trading since the account began."""

    total_trades_all_time: int = Field(examples=[523], description="Closed trades.")
    total_volume_usd: Amount = Field(examples=[156780.50], description="Entries and exits.")
    total_fees_paid: Amount = Field(examples=[487.32])
    best_month: BestMonthItem | None = Field(description="Null before the first trade.")
    current_streak: StreakItem


class StatsRisk(View):
    """The limits that hold: the lower of plan and settings. Spot borrows nothing."""

    current_risk_level: str = Field(examples=["medium"])
    max_position_size_usd: Amount = Field(examples=[2000.00])
    max_positions: int = Field(examples=[10])
    current_leverage: Ratio = Field(examples=[1.0])
    available_leverage: Ratio = Field(examples=[1.0])


class StatsData(View):
    """Statistics of an account."""

    account: StatsAccount
    trading: StatsTrading
    risk: StatsRisk

    @classmethod
    def from_domain(cls, view: StatsView) -> StatsData:
        """Render statistics."""
        return cls(
            account=_account(view),
            trading=StatsTrading(
                total_trades_all_time=view.total_trades,
                total_volume_usd=view.total_volume,
                total_fees_paid=view.total_fees,
                best_month=None
                if view.best_month is None
                else BestMonthItem.from_domain(view.best_month),
                current_streak=StreakItem.from_domain(view.streak),
            ),
            risk=StatsRisk(
                current_risk_level=view.risk_level,
                max_position_size_usd=view.limits.max_position_size,
                max_positions=view.limits.max_positions,
                current_leverage=view.current_leverage,
                available_leverage=view.available_leverage,
            ),
        )


def _account(view: StatsView) -> StatsAccount:
    return StatsAccount(
        user_id=wire_id("usr", view.user_id),
        subscription_tier=view.tier,
        account_age_days=view.account_age_days,
        total_deposits=view.total_deposits,
        total_withdrawals=view.total_withdrawals,
        flows_unpriced=list(view.flows_unpriced),
        current_balance=view.equity,
        unpriced=list(view.unpriced),
        equity_is_lower_bound=bool(view.unpriced),
        all_time_high=view.all_time_high,
        all_time_low=view.all_time_low,
        broker=view.broker,
        mode=Mode(view.mode),
    )
