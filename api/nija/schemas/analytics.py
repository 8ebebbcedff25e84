"""Wire models of Analytics & Reporting: dashboard and trade analytics."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from api.kit.wire import Amount, Ratio, Symbol, View, quote_amount, ratio, wire_id
from api.nija.schemas.account import TRADE, AccountQuery
from domain.markets import Mode
from services.account_views.frame import Period
from services.analytics.dashboard import DashboardView, PeriodResult, TopSymbol
from services.analytics.trades import GroupBy, GroupResult, NotedTrade, TradeAnalytics


class TradesQuery(AccountQuery):
    """Which trades, and how to group them."""

    period: Period = Field(default=Period.MONTH, description="UTC days of the venue's clock.")
    symbol: Symbol | None = None
    group_by: GroupBy = Field(
        default=GroupBy.HOUR, description="Answers in by_hour, by_day, by_week or by_month."
    )


class PeriodItem(View):
    """Closed trades of some days up to today; `pnl` is before fees."""

    pnl: Amount = Field(examples=[145.60])
    pnl_pct: Ratio = Field(examples=[1.42], description="Time-weighted.")
    trades: int = Field(examples=[8])
    win_rate: Ratio = Field(examples=[0.75], description="A fraction of one.")
    net_pnl: Amount = Field(examples=[139.20], description="After fees.")

    @classmethod
    def from_domain(cls, result: PeriodResult) -> PeriodItem:
        """Render a period."""
        return cls(
            pnl=result.pnl,
            pnl_pct=result.pnl_pct,
            trades=result.trades,
            win_rate=result.win_rate,
            net_pnl=result.net_pnl,
        )


class TopPerformerItem(View):
    """The market with the highest net P&L of the month; percent of its entry notional."""

    symbol: str = Field(examples=["BTC-USD"])
    pnl: Amount = Field(examples=[456.80])
    pnl_pct: Ratio = Field(examples=[15.2])
    net_pnl: Amount = Field(examples=[450.10])

    @classmethod
    def from_domain(cls, top: TopSymbol) -> TopPerformerItem:
        """Render a market."""
        return cls(symbol=top.symbol, pnl=top.pnl, pnl_pct=top.pnl_pct, net_pnl=top.net_pnl)


class DashboardData(View):
    """The summary: today, the last 7 and 30 days."""

    today: PeriodItem
    week: PeriodItem
    month: PeriodItem
    active_positions: int = Field(examples=[3])
    balance: Amount = Field(examples=[12212.05], description="Equity.")
    unpriced: list[str] = Field(
        examples=[["STAKED"]], description="Held, without a price, and left out of it."
    )
    equity_is_lower_bound: bool = Field(description="Whether anything is left out.")
    flows_unpriced: list[str] = Field(
        examples=[["STAKED"]],
        description="Came or went without a price then, and left out of every percentage.",
    )
    top_performer: TopPerformerItem | None = Field(description="Null without trades this month.")
    broker: str = Field(examples=["coinbase"])
    mode: Mode

    @classmethod
    def from_domain(cls, view: DashboardView) -> DashboardData:
        """Render the dashboard."""
        top = view.top_symbol
        return cls(
            today=PeriodItem.from_domain(view.today),
            week=PeriodItem.from_domain(view.week),
            month=PeriodItem.from_domain(view.month),
            active_positions=view.active_positions,
            balance=view.equity,
            unpriced=list(view.unpriced),
            equity_is_lower_bound=bool(view.unpriced),
            flows_unpriced=list(view.flows_unpriced),
            top_performer=None if top is None else TopPerformerItem.from_domain(top),
            broker=view.broker,
            mode=Mode(view.mode),
        )


class OutcomesItem(View):
    """How trades ended, after fees; one that only earned its fees is neither."""

    wins: int = Field(examples=[108])
    losses: int = Field(examples=[48])
    win_rate: Ratio = Field(examples=[0.6923], description="A fraction of one.")


# Of these there may be hundreds in an answer. Dictionaries are the cheapest to make and to render.
# They are not validated on their way out, so `_group` rounds the numbers.
class GroupItem(TypedDict):
    """Trades of one group; `pnl` and `avg_pnl` are before fees."""

    trades: Annotated[int, Field(examples=[23])]
    pnl: Annotated[Amount, Field(examples=[818.80])]
    avg_pnl: Annotated[Amount, Field(examples=[35.60])]
    net_pnl: Annotated[Amount, Field(examples=[801.10])]
    win_rate: Annotated[Ratio, Field(examples=[0.6957])]


class SymbolItem(GroupItem):
    """Trades of a market."""

    symbol: Annotated[str, Field(examples=["BTC-USD"])]


class HourItem(GroupItem):
    """Trades that closed in a UTC hour of any day."""

    hour: Annotated[int, Field(examples=[9], ge=0, le=23)]


class DayItem(GroupItem):
    """Trades that closed on a UTC day."""

    date: date


class WeekItem(GroupItem):
    """Trades that closed in an ISO week."""

    week: Annotated[str, Field(examples=["2026-W05"])]
    start_date: date


class MonthItem(GroupItem):
    """Trades that closed in a month."""

    month: Annotated[str, Field(examples=["2026-01"])]


class NotedTradeItem(View):
    """One trade; `pnl` is before fees, percent of the entry notional."""

    trade_id: str = Field(examples=["trd_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    symbol: str = Field(examples=["BTC-USD"])
    pnl: Amount = Field(examples=[156.80])
    pnl_pct: Ratio = Field(examples=[12.5])
    net_pnl: Amount = Field(examples=[155.10])

    @classmethod
    def from_domain(cls, trade: NotedTrade) -> NotedTradeItem:
        """Render a trade."""
        return cls(
            trade_id=wire_id(TRADE, trade.id),
            symbol=trade.symbol,
            pnl=trade.pnl,
            pnl_pct=trade.pnl_pct,
            net_pnl=trade.net_pnl,
        )


class TradesData(View):
    """Closed trades of a period. Groups without trades are left out.

    `by_day`, `by_week` and `by_month` are null unless `group_by` asks for them. Best and worst are
    by net P&L, null without trades.
    """

    period: Period
    start_date: date | None = Field(description="First day shown; null is since ever.")
    total_trades: int = Field(examples=[156])
    by_outcome: OutcomesItem
    by_symbol: SkipValidation[list[SymbolItem]]
    by_hour: SkipValidation[list[HourItem]]
    by_day: SkipValidation[list[DayItem] | None]
    by_week: SkipValidation[list[WeekItem] | None]
    by_month: SkipValidation[list[MonthItem] | None]
    avg_hold_time_minutes: Ratio = Field(examples=[720])
    best_trade: NotedTradeItem | None
    worst_trade: NotedTradeItem | None
    broker: str = Field(examples=["coinbase"])
    mode: Mode

    @classmethod
    def from_domain(cls, view: TradeAnalytics) -> TradesData:
        """Render trade analytics."""
        sums, buckets, by = view.sums, view.by_bucket, view.group_by
        return cls(
            period=view.period,
            start_date=view.first_day,
            total_trades=sums.trades,
            by_outcome=OutcomesItem(wins=sums.wins, losses=sums.losses, win_rate=sums.win_rate),
            by_symbol=[{**_group(it), "symbol": it.key} for it in view.by_symbol],
            by_hour=[{**_group(it), "hour": it.key} for it in view.by_hour],
            by_day=[{**_group(it), "date": it.key} for it in buckets]
            if by is GroupBy.DAY
            else None,
            by_week=[_week(it) for it in buckets] if by is GroupBy.WEEK else None,
            by_month=[{**_group(it), "month": f"{it.key:%Y-%m}"} for it in buckets]
            if by is GroupBy.MONTH
            else None,
            avg_hold_time_minutes=sums.avg_held_minutes,
            best_trade=None if view.best is None else NotedTradeItem.from_domain(view.best),
            worst_trade=None if view.worst is None else NotedTradeItem.from_domain(view.worst),
            broker=view.broker,
            mode=Mode(view.mode),
        )


def _group(result: GroupResult) -> GroupItem:
    return {
        "trades": result.trades,
        "pnl": quote_amount(result.pnl),
        "avg_pnl": quote_amount(result.avg_pnl),
        "net_pnl": quote_amount(result.net_pnl),
        "win_rate": ratio(result.win_rate),
    }


def _week(result: GroupResult) -> WeekItem:
    return {**_group(result), "week": f"{result.key:%G-W%V}", "start_date": result.key}
