"""Reading the roll-ups: a period that ends now is some single days and then whole months."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from domain.money import ZERO
from domain.performance import TradeSums
from domain.returns import CapitalFlow
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
DAYS = f"SELECT bucket AS day, trades, wins, losses, price_pnl, net_pnl {_DAYS}"
"""One row a day with trades."""

PNL_OF_DAYS = f"SELECT bucket AS day, price_pnl, net_pnl {_DAYS}"
"""The same of their P&L alone: of a long period there are hundreds."""

# Own trades of the user at the venue are flows too: what came is set off against what went.
_FLOWS = """
FROM flows f
WHERE f.user_id = %(user_id)s AND f.account_id = %(account_id)s
  AND f.kind NOT IN ('opening', 'reset')
  AND f.at > (
      SELECT coalesce(max(r.at), '-infinity') FROM flows r
      WHERE r.user_id = %(user_id)s AND r.account_id = %(account_id)s AND r.kind = 'reset'
  )
"""
_AMOUNT = "coalesce(sum(f.value), 0) AS amount"

FLOWS = f"""
SELECT came.day, came.amount, before.price_pnl, before.net_pnl
FROM (
    SELECT f.at, (f.at AT TIME ZONE 'UTC')::date AS day, {_AMOUNT} {_FLOWS}
      AND f.at >= %(first)s::timestamp AT TIME ZONE 'UTC'
    GROUP BY f.at
) came
CROSS JOIN LATERAL (
    SELECT coalesce(sum(p.realized_pnl), 0) AS price_pnl,
           coalesce(sum(p.realized_pnl - p.fees), 0) AS net_pnl
    FROM positions p
    WHERE p.user_id = %(user_id)s AND p.account_id = %(account_id)s AND p.state = 'closed'
      AND p.closed_at >= came.day::timestamp AT TIME ZONE 'UTC' AND p.closed_at < came.at
) before
WHERE came.amount <> 0
ORDER BY came.at
"""
"""What came and went in a period in the account's currency, and what its day had gained by then.

It counts at its price when it was first seen; what had none then is left out.
"""

FLOWS_BEFORE = f"""
SELECT coalesce(
           sum(f.value) FILTER (WHERE f.at < %(first)s::timestamp AT TIME ZONE 'UTC'), 0
       ) AS amount,
       array_agg(DISTINCT f.currency) FILTER (WHERE f.value IS NULL) AS unpriced
{_FLOWS}
"""
"""The sum of what came and went before the period, and what of all that had no price."""

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


def flows_of(rows: Sequence[Mapping[str, Any]]) -> tuple[CapitalFlow, ...]:
    """The domain's values of the rows of `FLOWS`."""
    return tuple(
        CapitalFlow(row["day"], row["amount"], row["price_pnl"], row["net_pnl"]) for row in rows
    )


def unpriced_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The currencies of a row of `FLOWS_BEFORE` that came or went without a price, sorted."""
    return tuple(sorted(row["unpriced"] or ()))


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
