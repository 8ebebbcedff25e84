"""Closed trades of a period by outcome, market, hour, day, week or month; best and worst."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from domain.money import ZERO, pct
from domain.performance import TradeSums
from services.account_views.frame import Period
from services.account_views.history import share_sold
from services.account_views.sums import EACH_HOUR, EACH_SYMBOL, TOTAL, picked, share


class GroupBy(StrEnum):
    """What trades can be grouped by, in UTC and by their closing; weeks begin on Mondays."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_GROUPED = """
sum(trades) AS trades, sum(wins) AS wins, sum(losses) AS losses,
sum(price_pnl) AS price_pnl, sum(net_pnl) AS net_pnl
"""

BY_SYMBOL = f"""
WITH {picked(EACH_SYMBOL)}
SELECT symbol, {_GROUPED} FROM picked
WHERE %(symbol)s = '' OR symbol = %(symbol)s
GROUP BY symbol HAVING sum(trades) > 0
ORDER BY sum(price_pnl) DESC, symbol
"""
BY_HOUR = f"""
WITH {picked(EACH_HOUR)}
SELECT hour, {_GROUPED} FROM picked GROUP BY hour HAVING sum(trades) > 0 ORDER BY hour
"""


def _by_days(bucket: LiteralString) -> LiteralString:
    return f"""
    SELECT {bucket} AS start, {_GROUPED}
    FROM trade_rollups r
    WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = %(symbol)s
      AND r.grain = 'day' AND r.bucket >= %(first)s
    GROUP BY 1 HAVING sum(trades) > 0 ORDER BY 1
    """


BY_BUCKET: Mapping[GroupBy, LiteralString] = {
    GroupBy.DAY: _by_days("r.bucket"),
    GroupBy.WEEK: _by_days("date_trunc('week', r.bucket::timestamp)::date"),
    GroupBy.MONTH: _by_days("date_trunc('month', r.bucket::timestamp)::date"),
}
"""One row a bucket with trades."""

EXTREMES = f"""
WITH {picked(TOTAL)},
named AS (
    (SELECT 'best' AS which, best_id AS id FROM picked WHERE best_id IS NOT NULL
     ORDER BY best_net DESC, best_id LIMIT 1)
    UNION ALL
    (SELECT 'worst', worst_id FROM picked WHERE worst_id IS NOT NULL
     ORDER BY worst_net, worst_id LIMIT 1)
)
SELECT named.which, p.id, p.symbol, p.realized_pnl, p.fees, p.entry_notional, p.state,
       p.entry_quantity, p.exit_quantity, p.closed_elsewhere_quantity, p.written_off_quantity
FROM named JOIN positions p ON p.user_id = %(user_id)s AND p.id = named.id
"""
"""The trades with the highest and the lowest net P&L: two rows, or none."""


class GroupResult(NamedTuple):
    """Trades of one group; `pnl` and `avg_pnl` are before fees, `net_pnl` after.

    `key` is the market, the hour, or the bucket's first day.
    """

    key: Any
    trades: int
    pnl: Decimal
    net_pnl: Decimal
    avg_pnl: Decimal
    win_rate: Decimal

    @classmethod
    def of(cls, row: Mapping[str, Any], key: str) -> GroupResult:
        """Read a grouped row."""
        trades = int(row["trades"])
        return cls(
            key=row[key],
            trades=trades,
            pnl=row["price_pnl"],
            net_pnl=row["net_pnl"],
            avg_pnl=row["price_pnl"] / trades if trades else ZERO,
            win_rate=share(int(row["wins"]), int(row["wins"] + row["losses"])),
        )


@dataclass(frozen=True, slots=True)
class NotedTrade:
    """One trade; percent is of the entry notional of what was sold, as in the history."""

    id: UUID
    symbol: str
    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal


@dataclass(frozen=True, slots=True)
class TradeAnalytics:
    """Everything about the closed trades of a period; `by_bucket` as was asked for."""

    period: Period
    first_day: date | None
    sums: TradeSums
    by_symbol: tuple[GroupResult, ...]
    by_hour: tuple[GroupResult, ...]
    group_by: GroupBy
    by_bucket: tuple[GroupResult, ...]
    best: NotedTrade | None
    worst: NotedTrade | None
    broker: str
    mode: str


def noted(rows: Sequence[Mapping[str, Any]], which: str) -> NotedTrade | None:
    """The best or the worst of the rows of `EXTREMES`."""
    for row in rows:
        if row["which"] == which:
            pnl = row["realized_pnl"] or ZERO
            percent = pct(pnl, row["entry_notional"] * share_sold(row))
            return NotedTrade(row["id"], row["symbol"], pnl, percent, pnl - row["fees"])
    return None
