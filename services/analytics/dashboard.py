"""The dashboard: today, the last week and month, and which market did best."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from domain.money import HUNDRED, ZERO, pct
from domain.returns import CapitalFlow, DayResult, link_returns
from services.account_views.frame import Frame, Period
from services.account_views.sums import EACH_SYMBOL, picked, share

TOP_SYMBOL = f"""
WITH {picked(EACH_SYMBOL)}
SELECT symbol, sum(price_pnl) AS price_pnl, sum(net_pnl) AS net_pnl,
       sum(entry_notional) AS entry_notional
FROM picked GROUP BY symbol HAVING sum(trades) > 0
ORDER BY sum(net_pnl) DESC, symbol LIMIT 1
"""
"""The market with the highest net P&L of a period."""


@dataclass(frozen=True, slots=True)
class PeriodResult:
    """Closed trades of some days up to today; percent is a time-weighted return before fees."""

    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal
    trades: int
    win_rate: Decimal


@dataclass(frozen=True, slots=True)
class TopSymbol:
    """A market's result; percent is of the notional of its entries."""

    symbol: str
    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal


@dataclass(frozen=True, slots=True)
class DashboardView:
    """The summary.

    What of the holdings has no price is `unpriced` and left out of equity; what came or went
    without one is `flows_unpriced` and left out of returns.
    """

    today: PeriodResult
    week: PeriodResult
    month: PeriodResult
    active_positions: int
    equity: Decimal
    unpriced: tuple[str, ...]
    flows_unpriced: tuple[str, ...]
    top_symbol: TopSymbol | None
    broker: str
    mode: str


def results(
    frame: Frame,
    days: Sequence[Mapping[str, Any]],
    begun_with: Decimal,
    flows: Sequence[CapitalFlow],
) -> tuple[PeriodResult, PeriodResult, PeriodResult]:
    """Today, the last seven and the last thirty days.

    Args:
        frame: the account and its present.
        days: rows of `sums.DAYS` of the last thirty days.
        begun_with: capital before those.
        flows: what came and went in those.
    """
    week = frame.today - timedelta(days=6)
    return (
        _result(days, frame.today, begun_with, flows),
        _result(days, week, begun_with, flows),
        _result(days, frame.first_day(Period.MONTH), begun_with, flows),
    )


def top_symbol(rows: Sequence[Mapping[str, Any]]) -> TopSymbol | None:
    """The row of `TOP_SYMBOL`, if there is one."""
    if not rows:
        return None
    row = rows[0]
    percent = pct(row["price_pnl"], row["entry_notional"])
    return TopSymbol(row["symbol"], row["price_pnl"], percent, row["net_pnl"])


def _result(
    days: Sequence[Mapping[str, Any]],
    first: date,
    begun_with: Decimal,
    flows: Sequence[CapitalFlow],
) -> PeriodResult:
    earlier = sum((row["net_pnl"] for row in days if row["day"] < first), ZERO)
    came = sum((flow.amount for flow in flows if flow.day < first), ZERO)
    rows = [row for row in days if row["day"] >= first]
    of_day = {row["day"]: DayResult(row["day"], row["price_pnl"], row["net_pnl"]) for row in rows}
    for flow in flows:
        if flow.day >= first:
            of_day.setdefault(flow.day, DayResult(flow.day, ZERO, ZERO))
    linked = link_returns(
        [of_day[day] for day in sorted(of_day)], begun_with + earlier + came, flows
    )
    wins = sum(row["wins"] for row in rows)
    return PeriodResult(
        pnl=sum((row["price_pnl"] for row in rows), ZERO),
        pnl_pct=linked.gross * HUNDRED,
        net_pnl=sum((row["net_pnl"] for row in rows), ZERO),
        trades=sum(row["trades"] for row in rows),
        win_rate=share(wins, wins + sum(row["losses"] for row in rows)),
    )
