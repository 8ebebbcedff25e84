"""Performance figures of an account over a period, from its closed trades and daily net P&L.

A win is a positive net P&L, a loss a negative one. `pnl` is before fees, `net` after. Percentages
are percent numbers, `win_rate` is a fraction. Percentages are time-weighted: deposits and
withdrawals are cut out (`domain.returns`). A figure is None only where it cannot be known: a ratio
whose divisor does not exist yet, or that would be drawn from too little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from domain.money import HUNDRED, ZERO, pct
from domain.returns import (
    CapitalFlow,
    DayResult,
    NoRatio,
    deepest_fall,
    link_returns,
    ratios,
)

_MICROSECONDS_A_MINUTE = 60_000_000
_ONE_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """What performance needs to know of a closed trade; amounts in the account's currency.

    Attributes:
        price_pnl: before fees.
        fees: all fees of its fills.
        opened_at: venue time of the first entry fill.
        closed_at: venue time of the last exit fill.
    """

    price_pnl: Decimal
    fees: Decimal
    opened_at: datetime
    closed_at: datetime

    @property
    def net_pnl(self) -> Decimal:
        """After fees."""
        return self.price_pnl - self.fees


@dataclass(frozen=True, slots=True)
class TradeSums:
    """Sums over closed trades: all that metrics need of them, added up beforehand or here.

    Attributes:
        trades: how many.
        wins: those with a positive net P&L.
        losses: those with a negative net P&L.
        price_pnl: before fees.
        fees: of all fills.
        gross_profit: net P&L of the wins.
        gross_loss: net P&L of the losses; negative.
        best_net: highest net P&L of a trade; None without trades.
        worst_net: lowest net P&L of a trade; None without trades.
        held_microseconds: time from entry to exit.
    """

    trades: int = 0
    wins: int = 0
    losses: int = 0
    price_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    gross_profit: Decimal = ZERO
    gross_loss: Decimal = ZERO
    best_net: Decimal | None = None
    worst_net: Decimal | None = None
    held_microseconds: Decimal = ZERO

    @classmethod
    def of(cls, trades: Iterable[ClosedTrade]) -> TradeSums:
        """Add trades up."""
        closed = tuple(trades)
        nets = [trade.net_pnl for trade in closed]
        wins = [net for net in nets if net > ZERO]
        losses = [net for net in nets if net < ZERO]
        return cls(
            trades=len(closed),
            wins=len(wins),
            losses=len(losses),
            price_pnl=sum((trade.price_pnl for trade in closed), ZERO),
            fees=sum((trade.fees for trade in closed), ZERO),
            gross_profit=sum(wins, ZERO),
            gross_loss=sum(losses, ZERO),
            best_net=max(nets, default=None),
            worst_net=min(nets, default=None),
            held_microseconds=sum((held_microseconds(trade) for trade in closed), ZERO),
        )

    @property
    def net_pnl(self) -> Decimal:
        """After fees."""
        return self.price_pnl - self.fees

    @property
    def win_rate(self) -> Decimal:
        """Winning share of the trades that won or lost, 0 to 1; 0 without any."""
        judged = self.wins + self.losses
        return Decimal(self.wins) / judged if judged else ZERO

    @property
    def avg_held_minutes(self) -> Decimal:
        """Mean time from entry to exit; 0 without any trade."""
        return _mean(self.held_microseconds, self.trades) / _MICROSECONDS_A_MINUTE


def held_microseconds(trade: ClosedTrade) -> Decimal:
    """Time from entry to exit as an integer number, so no float is involved."""
    return Decimal((trade.closed_at - trade.opened_at) // _ONE_MICROSECOND)


@dataclass(frozen=True, slots=True)
class PerformanceMetrics:
    """The metrics of the contract, in its names.

    Attributes:
        total_trades: closed trades.
        winning_trades: those with a positive net P&L.
        losing_trades: those with a negative net P&L.
        win_rate: winning share of the trades that won or lost, 0 to 1.
        total_pnl: before fees.
        total_pnl_pct: the same as a time-weighted return; without flows, percent of the initial
            equity.
        net_return_pct: time-weighted return after fees.
        avg_win: mean net P&L of winners.
        avg_loss: mean net P&L of losers; negative.
        largest_win: best net P&L of a winner.
        largest_loss: worst net P&L of a loser; negative.
        profit_factor: gross profit / gross loss; 0 without a profit, None with profits and no
            loss.
        payoff_ratio: average win / average loss; 0 without a win, None with wins and no loss.
        sharpe_ratio: mean / sample standard deviation of daily returns, times the root of 365,
            risk-free 0; None with a reason below.
        sortino_ratio: the same with the deviation of losing days; None without one.
        calmar_ratio: annual return / deepest fall in percent; None without a fall.
        ratios_reason: why there are no such ratios; None where there are.
        max_drawdown: deepest fall of the equity curve below its earlier peak, in currency;
            negative.
        max_drawdown_pct: deepest fall of the time-weighted return, as percent of the peak it fell
            from; negative.
        recovery_time_days: days from the bottom of the deepest fall (in currency) until its peak
            was reached again; None while it is not.
        avg_trade_duration_minutes: mean time from entry to exit.
        total_fees: of all trades.
        net_pnl: after fees.
    """

    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal
    total_pnl: Decimal
    total_pnl_pct: Decimal
    net_return_pct: Decimal
    avg_win: Decimal
    avg_loss: Decimal
    largest_win: Decimal
    largest_loss: Decimal
    profit_factor: Decimal | None
    payoff_ratio: Decimal | None
    sharpe_ratio: Decimal | None
    sortino_ratio: Decimal | None
    calmar_ratio: Decimal | None
    ratios_reason: NoRatio | None
    max_drawdown: Decimal
    max_drawdown_pct: Decimal
    recovery_time_days: int | None
    avg_trade_duration_minutes: Decimal
    total_fees: Decimal
    net_pnl: Decimal


# Of these two there is one a day: named tuples are made in half the time of frozen dataclasses.
class DailyPnl(NamedTuple):
    """Net P&L realised on a UTC day."""

    day: date
    pnl: Decimal


class EquityPoint(NamedTuple):
    """The end of a UTC day.

    Attributes:
        equity: initial equity plus all net P&L up to it; flows do not move it.
        return_pct: time-weighted return after fees since the series began.
    """

    day: date
    equity: Decimal
    return_pct: Decimal


@dataclass(frozen=True, slots=True)
class Performance:
    """Metrics and the two series behind them; every day of the period has a row."""

    metrics: PerformanceMetrics
    daily_pnl: tuple[DailyPnl, ...]
    equity_curve: tuple[EquityPoint, ...]


def measure_performance(
    trades: Iterable[ClosedTrade],
    daily_net: Mapping[date, Decimal],
    initial_equity: Decimal,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    began: date | None = None,
    daily_gross: Mapping[date, Decimal] | None = None,
    capital: Decimal | None = None,
    flows: Sequence[CapitalFlow] = (),
) -> Performance:
    """Compute everything from single trades; otherwise as `performance_of`."""
    return performance_of(
        TradeSums.of(trades),
        daily_net,
        initial_equity,
        first_day=first_day,
        last_day=last_day,
        began=began,
        daily_gross=daily_gross,
        capital=capital,
        flows=flows,
    )


def performance_of(
    sums: TradeSums,
    daily_net: Mapping[date, Decimal],
    initial_equity: Decimal,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    began: date | None = None,
    daily_gross: Mapping[date, Decimal] | None = None,
    capital: Decimal | None = None,
    flows: Sequence[CapitalFlow] = (),
) -> Performance:
    """Compute metrics and series.

    Args:
        sums: over the trades closed in the period.
        daily_net: net P&L by UTC day of the closing; days without any may be missing.
        initial_equity: where the equity curve begins: equity before the first day, without what
            came and went since the account began.
        first_day: start of the series; the first day of `daily_net` if not given.
        last_day: end of the series, inclusive; the last day of `daily_net` if not given.
        began: the first day of the account. Days before it are in the series and are no returns.
        daily_gross: P&L before fees by day, needed where there are flows; `daily_net` if not given.
        capital: what the first day began with, flows included; `initial_equity` if not given.
        flows: of the period, in order; those before its first day were there to trade with.
    """
    days = _every_day(daily_net, first_day, last_day)
    daily = tuple(DailyPnl(day, daily_net.get(day, ZERO)) for day in days)
    begun_with = (initial_equity if capital is None else capital) + _came_before(days, flows)
    gross = daily_net if daily_gross is None else daily_gross
    results = [DayResult(day, gross.get(day, ZERO), pnl) for day, pnl in daily]
    linked = link_returns(results, begun_with, flows)
    equity = tuple(accumulate((row.pnl for row in daily), initial=initial_equity))[1:]
    curve = tuple(
        EquityPoint(day, worth, (level - 1) * HUNDRED)
        for day, worth, level in zip(days, equity, linked.levels, strict=True)
    )
    drawdown, recovery = _drawdown(curve, initial_equity)
    lived = _lived_from(daily, began)
    drawn = ratios(
        linked.daily[lived:],
        observations=sum(1 for row in daily[lived:] if row.day in daily_net),
        has_capital=linked.has_capital,
    )
    avg_win, avg_loss = (
        _mean(sums.gross_profit, sums.wins),
        _mean(sums.gross_loss, sums.losses),
    )
    metrics = PerformanceMetrics(
        total_trades=sums.trades,
        winning_trades=sums.wins,
        losing_trades=sums.losses,
        win_rate=sums.win_rate,
        total_pnl=sums.price_pnl,
        total_pnl_pct=linked.gross * HUNDRED if flows else pct(sums.price_pnl, begun_with),
        net_return_pct=linked.net * HUNDRED,
        avg_win=avg_win,
        avg_loss=avg_loss,
        largest_win=max(sums.best_net or ZERO, ZERO),
        largest_loss=min(sums.worst_net or ZERO, ZERO),
        profit_factor=_gain_to_loss(sums.gross_profit, sums.gross_loss),
        payoff_ratio=_gain_to_loss(avg_win, avg_loss),
        sharpe_ratio=drawn.sharpe,
        sortino_ratio=drawn.sortino,
        calmar_ratio=drawn.calmar,
        ratios_reason=drawn.reason,
        max_drawdown=drawdown,
        max_drawdown_pct=deepest_fall(linked.levels) * HUNDRED,
        recovery_time_days=recovery,
        avg_trade_duration_minutes=sums.avg_held_minutes,
        total_fees=sums.fees,
        net_pnl=sums.net_pnl,
    )
    return Performance(metrics, daily, curve)


def _every_day(
    daily_net: Mapping[date, Decimal], first: date | None, last: date | None
) -> tuple[date, ...]:
    first = min(daily_net, default=None) if first is None else first
    last = max(daily_net, default=None) if last is None else last
    if first is None or last is None:
        return ()
    return tuple(map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1)))


def _came_before(days: Sequence[date], flows: Sequence[CapitalFlow]) -> Decimal:
    return sum((flow.amount for flow in flows if days and flow.day < days[0]), ZERO)


def _drawdown(curve: Sequence[EquityPoint], initial_equity: Decimal) -> tuple[Decimal, int | None]:
    """Deepest fall in currency, and days it took to recover."""
    peak, depth = initial_equity, ZERO
    bottom: date | None = None
    lost_peak = initial_equity
    for day, equity, _ in curve:
        peak = max(peak, equity)
        if equity - peak < depth:
            depth, bottom, lost_peak = equity - peak, day, peak
    if bottom is None:
        return depth, 0
    later = (point.day for point in curve if point.day > bottom and point.equity >= lost_peak)
    regained = next(later, None)
    return depth, None if regained is None else (regained - bottom).days


def _lived_from(daily: Sequence[DailyPnl], began: date | None) -> int:
    """Which is the day the account began, or the first that gained or lost anything."""
    if began is None:
        return 0
    return next((at for at, row in enumerate(daily) if row.day >= began or row.pnl), len(daily))


def _gain_to_loss(gain: Decimal, loss: Decimal) -> Decimal | None:
    """Gain over (negative) loss; zero without gain, None where only the loss is missing."""
    if not gain:
        return ZERO
    return gain / -loss if loss else None


def _mean(total: Decimal, count: int) -> Decimal:
    return total / count if count else ZERO
