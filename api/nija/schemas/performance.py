"""Wire models of performance."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from api.kit.wire import Amount, Ratio, View, quote_amount, ratio
from api.nija.schemas.account import AccountQuery
from domain.markets import Mode
from domain.performance import PerformanceMetrics
from domain.returns import NoRatio
from services.account_views.frame import Period
from services.account_views.performance import PerformanceView


class PerformanceQuery(AccountQuery):
    """Which account, and how far back."""

    period: Period = Field(default=Period.MONTH, description="UTC days of the venue's clock.")


class MetricsItem(View):
    """The figures of a period."""

    total_trades: int = Field(examples=[156])
    winning_trades: int = Field(examples=[108])
    losing_trades: int = Field(examples=[48])
    win_rate: Ratio = Field(examples=[0.6923], description="A fraction of one.")
    total_pnl: Amount = Field(examples=[2340.50], description="Before fees.")
    total_pnl_pct: Ratio = Field(
        examples=[23.41], description="Time-weighted, before fees: deposits are no profit."
    )
    net_return_pct: Ratio = Field(examples=[22.12], description="The same after fees.")
    avg_win: Amount = Field(examples=[45.60])
    avg_loss: Amount = Field(examples=[-22.30])
    largest_win: Amount = Field(examples=[156.80])
    largest_loss: Amount = Field(examples=[-87.40])
    profit_factor: Ratio | None = Field(
        examples=[2.04],
        description="Gross profit / gross loss; 0 without a profit, null with profits and no loss.",
    )
    payoff_ratio: Ratio | None = Field(
        examples=[2.04],
        description="Average win / average loss; 0 without a win, null with wins and no loss.",
    )
    sharpe_ratio: Ratio | None = Field(
        examples=[1.85],
        description="Of daily returns, 365 days, risk-free 0; null with `ratios_reason`.",
    )
    sortino_ratio: Ratio | None = Field(
        examples=[2.6], description="Null with `ratios_reason`, or without a losing day."
    )
    calmar_ratio: Ratio | None = Field(
        examples=[3.1], description="Null with `ratios_reason`, or without a drawdown."
    )
    ratios_reason: NoRatio | None = Field(
        description="Why the three ratios are not there; null where they are."
    )
    max_drawdown: Amount = Field(examples=[-850.0], description="In account currency.")
    max_drawdown_pct: Ratio = Field(
        examples=[-8.5], description="Of the time-weighted return's earlier peak."
    )
    recovery_time_days: int | None = Field(
        examples=[3], description="Null while the peak before the deepest fall is not regained."
    )
    avg_trade_duration_minutes: Ratio = Field(examples=[720])
    total_fees: Amount = Field(examples=[128.45])
    net_pnl: Amount = Field(examples=[2212.05], description="After fees.")

    @classmethod
    def from_domain(cls, metrics: PerformanceMetrics) -> MetricsItem:
        """Render the figures; their names are the contract's already."""
        return cls(**{name: getattr(metrics, name) for name in cls.model_fields})


# Of these two there are hundreds in an answer. Dictionaries are the cheapest to make and to render.
# They are not validated on their way out, so whoever makes one rounds the amount.
class DailyPnlItem(TypedDict):
    """Net P&L of a UTC day."""

    date: date
    pnl: Annotated[Amount, Field(examples=[45.60])]


class EquityItem(TypedDict):
    """The end of a UTC day: opening equity plus net P&L, which no deposit moves."""

    date: date
    equity: Annotated[Amount, Field(examples=[10045.60])]
    return_pct: Annotated[
        Ratio, Field(examples=[0.456], description="Time-weighted, since the period began.")
    ]


class PerformanceData(View):
    """How an account did."""

    period: Period
    metrics: MetricsItem
    daily_pnl: SkipValidation[list[DailyPnlItem]]
    equity_curve: SkipValidation[list[EquityItem]]
    flows_unpriced: list[str] = Field(
        examples=[["STAKED"]],
        description="Came or went without a price then, and left out of every percentage.",
    )
    broker: str = Field(examples=["coinbase"])
    mode: Mode

    @classmethod
    def from_domain(cls, view: PerformanceView) -> PerformanceData:
        """Render performance."""
        measured = view.performance
        return cls(
            period=view.period,
            metrics=MetricsItem.from_domain(measured.metrics),
            daily_pnl=[{"date": day, "pnl": quote_amount(pnl)} for day, pnl in measured.daily_pnl],
            equity_curve=[
                {"date": day, "equity": quote_amount(equity), "return_pct": ratio(gained)}
                for day, equity, gained in measured.equity_curve
            ],
            flows_unpriced=list(view.flows_unpriced),
            broker=view.broker,
            mode=Mode(view.mode),
        )
