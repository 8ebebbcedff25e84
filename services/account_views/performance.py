"""Performance of an account over a period of venue days.

Daily net P&L comes from the roll-ups that are kept in each closing fill's transaction; the figures
of single trades from the trades themselves. Resetting a paper account begins anew: what was before
does not count. The equity curve is the opening equity plus cumulative net P&L, so it is unmoved by
deposits and by what the user does outside the platform.
"""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.money import ZERO
from domain.performance import ClosedTrade, Performance, measure_performance
from services.account_views.choice import CHOSEN


class Period(StrEnum):
    """Periods that can be asked for."""

    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"
    YEAR = "1y"
    ALL = "all"

    @property
    def days(self) -> int | None:
        """How many UTC days, today included; None is all of them."""
        return {"7d": 7, "30d": 30, "90d": 90, "1y": 365}.get(self.value)


ACCOUNT = f"""
WITH {CHOSEN}
SELECT chosen.venue, chosen.mode, chosen.currency, s.clock_at,
       coalesce(chosen.opening_equity, (
           SELECT e.equity FROM equity_snapshots e
           WHERE e.user_id = chosen.user_id AND e.account_id = chosen.id AND e.equity IS NOT NULL
           ORDER BY e.at LIMIT 1
       )) AS opening_equity,
       (SELECT max(f.at) FROM flows f
        WHERE f.user_id = chosen.user_id AND f.account_id = chosen.id AND f.kind = 'reset')
       AS reset_at
FROM chosen
LEFT JOIN venue_states s ON s.venue = chosen.venue AND s.realm = chosen.realm
"""
DAYS = f"""
WITH {CHOSEN}
SELECT d.day, sum(d.net_pnl) AS net_pnl
FROM chosen JOIN daily_results d ON d.user_id = chosen.user_id AND d.account_id = chosen.id
GROUP BY d.day
"""
TRADES = f"""
WITH {CHOSEN}
SELECT p.realized_pnl, p.fees, p.opened_at, p.closed_at
FROM chosen JOIN positions p
    ON p.user_id = chosen.user_id AND p.account_id = chosen.id AND p.state = 'closed'
WHERE (%(days)s::int IS NULL OR p.closed_at >= %(not_before)s::timestamptz)
ORDER BY p.closed_at
"""


@dataclass(frozen=True, slots=True)
class PerformanceView:
    """How an account did in a period."""

    period: Period
    performance: Performance
    broker: str
    mode: str


def first_day_of(period: Period, now: datetime) -> date | None:
    """The first UTC day of a period that ends today."""
    return None if period.days is None else now.date() - timedelta(days=period.days - 1)


def measure(
    account: Mapping[str, Any],
    days: Sequence[Mapping[str, Any]],
    trades: Sequence[Mapping[str, Any]],
    *,
    period: Period,
    now: datetime,
) -> PerformanceView:
    """Put the stored rows together.

    Args:
        account: the row of `ACCOUNT`.
        days: the rows of `DAYS`.
        trades: the rows of `TRADES`.
        period: what was asked for.
        now: venue time.
    """
    reset_at: datetime | None = account["reset_at"]
    closed = [_trade(row) for row in trades]
    if reset_at is not None:
        closed = [trade for trade in closed if trade.closed_at > reset_at]
    daily = _since_reset({row["day"]: row["net_pnl"] for row in days}, closed, reset_at)
    first = first_day_of(period, now)
    if first is not None:
        begin = datetime.combine(first, time(), UTC)
        closed = [trade for trade in closed if trade.closed_at >= begin]
    before = [net for day, net in daily.items() if first is not None and day < first]
    performance = measure_performance(
        closed,
        {day: net for day, net in daily.items() if first is None or day >= first},
        (account["opening_equity"] or ZERO) + sum(before, ZERO),
        first_day=first,
        last_day=now.date() if first is not None or daily else None,
    )
    return PerformanceView(period, performance, account["venue"], account["mode"])


def _trade(row: Mapping[str, Any]) -> ClosedTrade:
    return ClosedTrade(
        price_pnl=row["realized_pnl"] or ZERO,
        fees=row["fees"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
    )


def _since_reset(
    daily: Mapping[date, Decimal], closed: Sequence[ClosedTrade], reset_at: datetime | None
) -> dict[date, Decimal]:
    if reset_at is None:
        return dict(daily)
    reset_day = reset_at.date()
    kept = {day: net for day, net in daily.items() if day > reset_day}
    same_day = [trade.net_pnl for trade in closed if trade.closed_at.date() == reset_day]
    return kept | ({reset_day: sum(same_day, ZERO)} if same_day else {})
