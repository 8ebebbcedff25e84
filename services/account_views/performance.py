"""Performance of an account over a period of venue days.

Everything comes from the roll-ups that are kept in each closing fill's transaction. Resetting a
paper account begins anew: what was before does not count. The equity curve is the opening equity
plus cumulative net P&L, so deposits and what the user does outside the platform do not move it.
Percentages are of what there was to trade with: the same plus what came and went until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from domain.performance import Performance, TradeSums, performance_of
from domain.returns import CapitalFlow
from services.account_views.frame import Frame, Period
from services.account_views.sums import unpriced_of


@dataclass(frozen=True, slots=True)
class PerformanceView:
    """How an account did in a period.

    `flows_unpriced` are currencies that came or went since it began without a price, and are left
    out of what it had to trade with.
    """

    period: Period
    performance: Performance
    flows_unpriced: tuple[str, ...]
    broker: str
    mode: str


def measure(
    frame: Frame,
    period: Period,
    *,
    sums: TradeSums,
    days: Sequence[Mapping[str, Any]],
    net_before: Mapping[str, Any],
    flows: Sequence[CapitalFlow] = (),
    flows_before: Mapping[str, Any],
    before: date | None = None,
) -> PerformanceView:
    """Put the stored rows together.

    Args:
        frame: the account and its present.
        period: what was asked for.
        sums: over the period's trades.
        days: rows of `sums.PNL_OF_DAYS`.
        net_before: the row of `sums.NET_BEFORE`.
        flows: what came and went in the period.
        flows_before: the row of `sums.FLOWS_BEFORE`.
        before: the day that the period ends before; it ends today where not given.
    """
    shown = [row for row in days if before is None or row["day"] < before]
    daily = {row["day"]: row["net_pnl"] for row in shown}
    begun_with = frame.opening_equity + net_before["net_pnl"]
    # All time begins with the first trade.
    first_day = None if period is Period.ALL else frame.first_day(period, before)
    last_day = max([frame.today, *daily]) if daily or period is not Period.ALL else None
    performance = performance_of(
        sums,
        daily,
        begun_with,
        first_day=first_day,
        last_day=last_day if before is None else before - timedelta(days=1),
        began=frame.began,
        daily_gross={row["day"]: row["price_pnl"] for row in shown},
        capital=begun_with + flows_before["amount"],
        flows=flows,
    )
    unpriced = unpriced_of(flows_before)
    return PerformanceView(period, performance, unpriced, frame.venue, frame.mode)
