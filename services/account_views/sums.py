"""Reading the roll-ups: a period that ends now is some single days and then whole months."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from domain.money import ZERO
from domain.performance import TradeSums
from models.rollups import ALL_SYMBOLS
from services.account_views.frame import months_from

HOURS = list(range(24))


def period(account_id: UUID, first: date, *, symbol: str | None = None) -> dict[str, Any]:
    """The parameters of every statement here, from the period's first day on."""
    return {
        "account_id": account_id,
        "first": first,
        "month": first.replace(day=1),
        "months_from": months_from(first),
        "symbol": symbol or ALL_SYMBOLS,
        "hours": HOURS,
    }


def picked(dimensions: LiteralString) -> LiteralString:
    """The roll-up rows `picked` of a period, as a common table expression."""
    return f"""
    picked AS (
        SELECT r.* FROM trade_rollups r
        WHERE r.account_id = %(account_id)s AND {dimensions}
          AND r.grain = 'day' AND r.bucket >= %(first)s AND r.bucket < %(months_from)s
        UNION ALL
        SELECT r.* FROM trade_rollups r
        WHERE r.account_id = %(account_id)s AND {dimensions}
          AND r.grain = 'month' AND r.bucket >= %(months_from)s
    )
    """


TOTAL: LiteralString = "r.hour = -1 AND r.symbol = %(symbol)s"
EACH_SYMBOL: LiteralString = "r.hour = -1 AND r.symbol <> ''"
EACH_HOUR: LiteralString = "r.hour = ANY(%(hours)s) AND r.symbol = %(symbol)s"

SUMMED = """
coalesce(sum(trades), 0) AS trades, coalesce(sum(wins), 0) AS wins,
coalesce(sum(losses), 0) AS losses, coalesce(sum(price_pnl), 0) AS price_pnl,
coalesce(sum(fees), 0) AS fees, coalesce(sum(gross_profit), 0) AS gross_profit,
coalesce(sum(gross_loss), 0) AS gross_loss, max(best_net) AS best_net,
min(worst_net) AS worst_net, coalesce(sum(held_microseconds), 0) AS held_microseconds
"""

TOTALS = f"WITH {picked(TOTAL)} SELECT {SUMMED} FROM picked"
"""One row of sums over a period."""

TOTALS_OF_DAYS = f"""
SELECT {SUMMED} FROM trade_rollups r
WHERE r.account_id = %(account_id)s AND {TOTAL} AND r.grain = 'day'
  AND r.bucket >= %(first)s AND r.bucket < %(before)s
"""
"""The same up to a day, by single days."""

_DAYS = """
FROM trade_rollups r
WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = %(symbol)s
  AND r.grain = 'day' AND r.bucket >= %(first)s AND r.trades <> 0
ORDER BY r.bucket
"""
DAYS = f"SELECT bucket AS day, trades, wins, price_pnl, net_pnl {_DAYS}"
"""One row a day with trades."""

NET_OF_DAYS = f"SELECT bucket AS day, net_pnl {_DAYS}"
"""The same of their net P&L alone: of a long period there are hundreds."""

NET_BEFORE = """
SELECT (
    SELECT coalesce(sum(r.net_pnl), 0) FROM trade_rollups r
    WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = ''
      AND r.grain = 'month' AND r.bucket < %(month)s
) + (
    SELECT coalesce(sum(r.net_pnl), 0) FROM trade_rollups r
    WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = ''
      AND r.grain = 'day' AND r.bucket >= %(month)s AND r.bucket < %(first)s
) AS net_pnl
"""
"""Net P&L of all trades before the period."""


def sums_of(row: Mapping[str, Any]) -> TradeSums:
    """The domain's value of a row of sums."""
    return TradeSums(
        trades=int(row["trades"]),
        wins=int(row["wins"]),
        losses=int(row["losses"]),
        price_pnl=row["price_pnl"],
        fees=row["fees"],
        gross_profit=row["gross_profit"],
        gross_loss=row["gross_loss"],
        best_net=row["best_net"],
        worst_net=row["worst_net"],
        held_microseconds=row["held_microseconds"],
    )


def share(part: int, whole: int) -> Decimal:
    """A fraction of one; zero of nothing."""
    return Decimal(part) / whole if whole else ZERO
