from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.performance import ClosedTrade, Performance, measure_performance
from domain.returns import NoRatio

DAY = date(2026, 1, 1)
AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def trade(pnl: str, fees: str = "0", minutes: int = 60) -> ClosedTrade:
    return ClosedTrade(Decimal(pnl), Decimal(fees), AT, AT + timedelta(minutes=minutes))


def measured(trades: list[ClosedTrade], *daily: str) -> Performance:
    days = {DAY + timedelta(days=index): Decimal(pnl) for index, pnl in enumerate(daily)}
    return measure_performance(trades, days, Decimal(10_000))


def test_trades() -> None:
    metrics = measured([trade("50", "2", 30), trade("-20", "2", 90), trade("1", "2")]).metrics
    assert metrics.total_trades == 3
    assert (metrics.winning_trades, metrics.losing_trades) == (1, 2)
    assert metrics.win_rate == Decimal(1) / 3
    assert metrics.total_pnl == 31
    assert metrics.total_pnl_pct == Decimal("0.31")
    assert metrics.total_fees == 6
    assert metrics.net_pnl == 25
    assert metrics.avg_win == 48
    assert metrics.avg_loss == Decimal("-11.5")
    assert metrics.largest_win == 48
    assert metrics.largest_loss == -22
    assert metrics.profit_factor == Decimal(48) / 23
    assert metrics.payoff_ratio == Decimal(48) / Decimal("11.5")
    assert metrics.avg_trade_duration_minutes == 60


def test_nothing_traded_is_all_zeros() -> None:
    result = measured([])
    assert result.daily_pnl == ()
    assert result.equity_curve == ()
    ratios = {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "ratios_reason"}
    for name in set(result.metrics.__slots__) - ratios:
        assert getattr(result.metrics, name) == 0, name
    assert result.metrics.ratios_reason is NoRatio.DAYS


def test_ratios_without_a_loss_are_unknown() -> None:
    metrics = measured([trade("5")]).metrics
    assert metrics.profit_factor is None
    assert metrics.payoff_ratio is None
    assert metrics.avg_loss == 0


def test_ratios_without_a_win_are_zero() -> None:
    metrics = measured([trade("-5")]).metrics
    assert metrics.profit_factor == 0
    assert metrics.payoff_ratio == 0


def test_a_trade_that_only_earns_its_fees_is_neither() -> None:
    metrics = measured([trade("2", "2")]).metrics
    assert metrics.winning_trades == metrics.losing_trades == 0
    assert metrics.win_rate == 0


def test_the_curve_of_the_contract() -> None:
    result = measured([], "45.60", "78.20", "-23.40")
    equity = [point.equity for point in result.equity_curve]
    assert equity == [Decimal("10045.60"), Decimal("10123.80"), Decimal("10100.40")]
    assert [row.pnl for row in result.daily_pnl] == [
        Decimal("45.60"),
        Decimal("78.20"),
        Decimal("-23.40"),
    ]
    assert result.metrics.max_drawdown == Decimal("-23.40")
    assert result.metrics.recovery_time_days is None


def test_days_without_fills_have_a_row() -> None:
    result = measure_performance(
        [],
        {DAY + timedelta(days=2): Decimal(5)},
        Decimal(100),
        first_day=DAY,
        last_day=DAY + timedelta(days=3),
    )
    assert [row.pnl for row in result.daily_pnl] == [0, 0, 5, 0]
    assert [point.equity for point in result.equity_curve] == [100, 100, 105, 105]


def test_the_deepest_fall_and_its_recovery() -> None:
    metrics = measured([], "1000", "-550", "-550", "100", "900", "100", "100", "-50").metrics
    assert metrics.max_drawdown == -1100
    assert metrics.max_drawdown_pct == -10
    assert metrics.recovery_time_days == 3


def test_a_first_day_of_losses_falls_from_the_initial_equity() -> None:
    metrics = measured([], "-500", "500").metrics
    assert metrics.max_drawdown == -500
    assert metrics.max_drawdown_pct == -5
    assert metrics.recovery_time_days == 1


FORTNIGHT = ["100", "-50", "25", "10", "-5", "60", "-20", "5", "15", "-40", "30", "1", "2", "3"]


def test_ratios_of_daily_returns() -> None:
    metrics = measured([], *FORTNIGHT).metrics
    equity, returns = 10_000.0, []
    for pnl in map(float, FORTNIGHT):
        returns.append(pnl / equity)
        equity += pnl
    assert metrics.ratios_reason is None
    assert metrics.sharpe_ratio is not None
    expected = mean(returns) / stdev(returns) * math.sqrt(365)
    assert float(metrics.sharpe_ratio) == pytest.approx(expected)
    assert metrics.sortino_ratio is not None
    downside = math.sqrt(mean(min(it, 0) ** 2 for it in returns))
    assert float(metrics.sortino_ratio) == pytest.approx(mean(returns) / downside * math.sqrt(365))
    assert metrics.calmar_ratio is not None
    annual = (equity / 10_000) ** (365 / 14) - 1
    fall = -float(metrics.max_drawdown_pct) / 100
    assert float(metrics.calmar_ratio) == pytest.approx(annual / fall)


def test_days_before_the_account_are_no_returns() -> None:
    daily = {DAY + timedelta(days=at): Decimal(pnl) for at, pnl in enumerate(FORTNIGHT)}

    def sharpe(first_day: date, began: date | None) -> Decimal | None:
        last_day = DAY + timedelta(days=14)
        return measure_performance(
            [], daily, Decimal(10_000), first_day=first_day, last_day=last_day, began=began
        ).metrics.sharpe_ratio

    month = DAY - timedelta(days=27)
    young = sharpe(month, DAY)
    # A clock that was set back: what was traded counts, whenever the account is said to begin.
    assert sharpe(month, DAY + timedelta(days=400)) == sharpe(DAY, None) == young is not None
    # Days of rest after the account began are returns of nothing, the days before it are none.
    assert sharpe(month, DAY - timedelta(days=1)) == sharpe(DAY - timedelta(days=1), None)
    assert sharpe(month, None) != young


@pytest.mark.parametrize(
    ("daily", "reason"),
    [
        ([], NoRatio.DAYS),
        (FORTNIGHT[:13], NoRatio.DAYS),
        (["1"] * 9, NoRatio.DAYS),
        (["0"] * 14, NoRatio.VARIATION),
        (["-20000", *FORTNIGHT], NoRatio.CAPITAL),
    ],
)
def test_ratios_that_cannot_be_known_say_why(daily: list[str], reason: NoRatio) -> None:
    metrics = measured([], *daily).metrics
    assert metrics.ratios_reason is reason
    assert metrics.sharpe_ratio is metrics.sortino_ratio is metrics.calmar_ratio is None


def test_ratios_need_ten_days_on_which_a_trade_closed() -> None:
    days = {DAY + timedelta(days=at): Decimal(at - 3) for at in range(9)}
    metrics = measure_performance(
        [], days, Decimal(100), first_day=DAY, last_day=DAY + timedelta(days=30)
    ).metrics
    assert metrics.ratios_reason is NoRatio.OBSERVATIONS


def test_without_a_loss_only_its_own_ratio_is_missing() -> None:
    metrics = measured([], *(str(pnl) for pnl in range(1, 15))).metrics
    assert metrics.sharpe_ratio is not None
    assert metrics.sortino_ratio is metrics.calmar_ratio is None
    assert metrics.ratios_reason is None


@given(st.lists(st.decimals(min_value=-900, max_value=900, places=2), max_size=40))
def test_series_and_drawdown_are_consistent(daily: list[Decimal]) -> None:
    result = measured([], *(str(pnl) for pnl in daily))
    metrics = result.metrics
    assert len(result.equity_curve) == len(daily)
    if daily:
        assert result.equity_curve[-1].equity == Decimal(10_000) + sum(daily)
    equity = [Decimal(10_000), *(point.equity for point in result.equity_curve)]
    falls = [later - earlier for index, earlier in enumerate(equity) for later in equity[index:]]
    assert metrics.max_drawdown == min(falls, default=0)
    assert metrics.max_drawdown_pct <= 0
    if metrics.recovery_time_days is None:
        assert max(equity) > equity[-1]
