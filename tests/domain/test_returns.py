"""Money that comes or goes is no profit."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.performance import TradeSums, performance_of
from domain.returns import CapitalFlow, DayResult, deepest_fall, link_returns

DAY = date(2026, 1, 1)


def days(*net: str) -> list[DayResult]:
    return [
        DayResult(DAY + timedelta(days=at), Decimal(pnl), Decimal(pnl))
        for at, pnl in enumerate(net)
    ]


def flow(at: int, amount: str, before: str = "0") -> CapitalFlow:
    return CapitalFlow(DAY + timedelta(days=at), Decimal(amount), Decimal(before), Decimal(before))


def test_a_deposit_is_no_profit_and_is_worked_with_from_then_on() -> None:
    linked = link_returns(days("100", "0", "1000"), Decimal(1_000), [flow(1, "98900")])
    assert linked.daily == (Decimal("0.1"), Decimal(0), Decimal("0.01"))
    assert linked.net == linked.gross == Decimal("0.111")


def test_a_withdrawal_is_no_loss() -> None:
    linked = link_returns(days("0", "5"), Decimal(1_000), [flow(1, "-900")])
    assert linked.net == Decimal("0.05")
    assert deepest_fall(linked.levels) == 0


def test_a_day_is_cut_at_its_flow() -> None:
    linked = link_returns(days("110"), Decimal(100), [flow(0, "890", before="10")])
    assert linked.daily == (Decimal("1.1") * Decimal("1.1") - 1,)


def test_flows_of_other_days_are_none_of_these() -> None:
    assert link_returns(days("1"), Decimal(100), [flow(7, "5"), flow(-1, "5")]).net == Decimal(
        "0.01"
    )


def test_what_was_gained_without_capital_has_no_return() -> None:
    linked = link_returns(days("5", "10"), Decimal(0), [flow(1, "95")])
    assert linked.net == Decimal("0.1")
    assert not linked.has_capital
    assert link_returns(days("0", "10"), Decimal(0), [flow(0, "100")]).has_capital


_amounts = st.decimals(min_value=-50, max_value=50, places=2)


@given(st.lists(_amounts, min_size=1, max_size=30), st.decimals(10_000, 10**9, places=2))
def test_without_flows_it_is_the_gain_on_what_it_began_with(
    net: list[Decimal], initial: Decimal
) -> None:
    linked = link_returns(days(*map(str, net)), initial)
    assert linked.levels[-1] == (initial + sum(net)) / initial
    assert linked.gross == pytest.approx(linked.net)


@given(
    st.lists(_amounts, min_size=3, max_size=20),
    st.integers(0, 19),
    st.decimals(-5_000, 10**6, places=2),
)
def test_a_flow_of_any_size_moves_no_return_but_those_after_it(
    net: list[Decimal], at: int, amount: Decimal
) -> None:
    at %= len(net)
    plain = link_returns(days(*map(str, net)), Decimal(10_000))
    moved = link_returns(days(*map(str, net)), Decimal(10_000), [flow(at, str(amount))])
    assert moved.daily[:at] == plain.daily[:at]
    for before, after in zip(plain.daily[at:], moved.daily[at:], strict=True):
        assert ((before > 0), (before < 0)) == ((after > 0), (after < 0))


def test_every_percentage_of_performance_is_without_flows() -> None:
    net = {DAY: Decimal(100), DAY + timedelta(days=2): Decimal(-1_000)}
    found = performance_of(
        TradeSums(price_pnl=Decimal(-900)), net, Decimal(1_000), flows=[flow(1, "98900")]
    )
    metrics = found.metrics
    assert metrics.total_pnl_pct == metrics.net_return_pct == Decimal("8.9")
    assert metrics.max_drawdown == -1_000
    assert metrics.max_drawdown_pct == -1
    assert [point.equity for point in found.equity_curve] == [1_100, 1_100, 100]
    assert [point.return_pct for point in found.equity_curve] == [10, 10, Decimal("8.9")]
