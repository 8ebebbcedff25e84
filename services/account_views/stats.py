"""Statistics of an account since it began (or was last reset), and the limits that hold for it."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from domain.money import ONE, ZERO, pct
from domain.risk import EffectiveLimits, SettingsLimits, effective_limits
from services.account_views.balance import BalanceView
from services.account_views.frame import Frame
from services.account_views.sums import unpriced_of

_ONE_DAY = timedelta(days=1)

MONTHS = """
SELECT bucket AS month, trades, price_pnl, net_pnl, fees, volume
FROM trade_rollups r
WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = '' AND r.grain = 'month'
  AND r.trades <> 0
ORDER BY r.bucket
"""
"""One row a month with trades, since the account began."""

EXTREMES = """
SELECT max(c.net_pnl) AS highest, min(c.net_pnl) AS lowest
FROM (
    SELECT sum(r.net_pnl) OVER (ORDER BY r.bucket) AS net_pnl
    FROM trade_rollups r
    WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = '' AND r.grain = 'day'
) c
"""
"""Highest and lowest point of the curve of cumulative net P&L, at the ends of days."""

LIVE = """
SELECT coalesce(sum(p.fees), 0) AS fees,
       coalesce(sum(p.realized_pnl), 0) - coalesce(sum(p.fees), 0) AS net_pnl,
       coalesce(sum(p.entry_notional + p.exit_notional), 0) AS volume
FROM positions p
WHERE p.user_id = %(user_id)s AND p.account_id = %(account_id)s
  AND p.state IN ('pending', 'open')
"""
"""What positions that are not closed yet have traded, paid and realised so far."""

# Under row-level security an index serves a comparison only with what can tell nobody anything,
# which PostgreSQL believes of a parameter and of CASE, but not of COALESCE.
_BEGIN = """
(
    SELECT coalesce(max(f.at), '-infinity') FROM flows f
    WHERE f.user_id = %(user_id)s AND f.account_id = %(account_id)s AND f.kind = 'reset'
)
"""
_FIRST_ID = "'00000000-0000-0000-0000-000000000000'"

FLOWS = f"""
SELECT coalesce(sum(f.value) FILTER (WHERE f.value > 0 AND f.kind = 'external'), 0) AS deposits,
       coalesce(-sum(f.value) FILTER (WHERE f.value < 0 AND f.kind = 'external'), 0)
           AS withdrawals,
       array_agg(DISTINCT f.currency) FILTER (WHERE f.value IS NULL) AS unpriced
FROM flows f
WHERE f.user_id = %(user_id)s AND f.account_id = %(account_id)s
  AND f.kind NOT IN ('opening', 'reset') AND f.at > {_BEGIN}
"""
"""Money that came and went besides trading, valued in the account's currency when it did.

One side of a trade that the user made by hand is neither a deposit nor a withdrawal.
"""

FLOWS_OF_MONTHS = f"""
SELECT date_trunc('month', f.at AT TIME ZONE 'UTC')::date AS month,
       coalesce(sum(f.value), 0) AS amount,
       coalesce(sum(f.value * extract(epoch FROM
           date_trunc('month', f.at AT TIME ZONE 'UTC') + interval '1 month'
           - f.at AT TIME ZONE 'UTC'
       ) / extract(epoch FROM
           date_trunc('month', f.at AT TIME ZONE 'UTC') + interval '1 month'
           - date_trunc('month', f.at AT TIME ZONE 'UTC')
       )), 0) AS weighted
FROM flows f
WHERE f.user_id = %(user_id)s AND f.account_id = %(account_id)s
  AND f.kind NOT IN ('opening', 'reset') AND f.at > {_BEGIN}
GROUP BY 1 ORDER BY 1
"""
"""What came and went in each month, and the same weighted by how much of the month was left."""

RISK = """
SELECT u.max_position_size_usd, u.max_concurrent_positions, u.max_daily_loss_usd,
       coalesce((
           SELECT r.risk_level FROM bot_runs r
           WHERE r.user_id = %(user_id)s AND r.account_id = %(account_id)s AND r.state = 'entering'
           ORDER BY r.number DESC LIMIT 1
       ), u.risk_level) AS risk_level
FROM user_settings u WHERE u.user_id = %(user_id)s
"""


def _last(sign: LiteralString) -> LiteralString:
    """The last trade on one side of zero."""
    return f"""
    SELECT p.closed_at, p.id FROM positions p
    WHERE p.user_id = %(user_id)s AND p.account_id = %(account_id)s AND p.state = 'closed'
      AND p.realized_pnl {sign} p.fees AND p.exit_notional <> 0 AND p.closed_at > {_BEGIN}
    ORDER BY p.closed_at DESC, p.id DESC LIMIT 1
    """


def _streak(kind: LiteralString, sign: LiteralString, counted: LiteralString) -> LiteralString:
    """The run of trades on one side since the last on the other, if it is the present one.

    Of the day on which it was broken last single trades are counted, of later days their roll-ups.
    """
    other = "win" if kind == "losing" else "loss"
    own = "loss" if kind == "losing" else "win"
    since = f"""
    p.user_id = %(user_id)s AND p.account_id = %(account_id)s AND p.state = 'closed'
    AND p.realized_pnl {sign} p.fees AND p.exit_notional <> 0 AND p.closed_at > {_BEGIN}
    AND (p.closed_at, p.id) > (
        CASE WHEN {other}.id IS NULL THEN '-infinity' ELSE {other}.closed_at END,
        CASE WHEN {other}.id IS NULL THEN {_FIRST_ID}::uuid ELSE {other}.id END
    )
    """
    return f"""
    SELECT '{kind}' AS kind, (
        SELECT coalesce(sum(r.{counted}), 0) FROM trade_rollups r
        WHERE r.account_id = %(account_id)s AND r.hour = -1 AND r.symbol = '' AND r.grain = 'day'
          AND ({other}.id IS NULL OR r.bucket > ({other}.closed_at AT TIME ZONE 'UTC')::date)
    ) + (
        SELECT count(*) FROM positions p
        WHERE {since} AND {other}.id IS NOT NULL
          AND p.closed_at < ({other}.closed_at AT TIME ZONE 'UTC')::date + interval '1 day'
    ) AS count, (
        SELECT p.closed_at FROM positions p WHERE {since} ORDER BY p.closed_at, p.id LIMIT 1
    ) AS started
    FROM {own} LEFT JOIN {other} ON true
    WHERE {other}.id IS NULL OR ({own}.closed_at, {own}.id) > ({other}.closed_at, {other}.id)
    """


STREAK = f"""
WITH win AS ({_last(">")}), loss AS ({_last("<")})
{_streak("winning", ">", "wins")} UNION ALL {_streak("losing", "<", "losses")}
"""
"""At most one row: how many trades in a row were won, or lost; a zero result is neither."""


@dataclass(frozen=True, slots=True)
class BestMonth:
    """The month with the highest net P&L.

    Percent is of the equity at its beginning and of what came and went during it, weighted by how
    much of the month it was there (modified Dietz).
    """

    month: str
    price_pnl: Decimal
    net_pnl: Decimal
    pnl_pct: Decimal


@dataclass(frozen=True, slots=True)
class Streak:
    """Trades won or lost in a row up to the last; `kind` is none before the first."""

    kind: str = "none"
    count: int = 0
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatsView:
    """Statistics of an account. Amounts in its currency.

    The highest and the lowest equity are those of the equity curve (opening equity plus net P&L) at
    the ends of its days and at present.
    """

    user_id: UUID
    tier: str
    broker: str
    mode: str
    account_age_days: int
    total_deposits: Decimal
    total_withdrawals: Decimal
    flows_unpriced: tuple[str, ...]
    equity: Decimal
    unpriced: tuple[str, ...]
    all_time_high: Decimal
    all_time_low: Decimal
    total_trades: int
    total_volume: Decimal
    total_fees: Decimal
    best_month: BestMonth | None
    streak: Streak
    risk_level: str
    limits: EffectiveLimits
    current_leverage: Decimal
    available_leverage: Decimal


@dataclass(frozen=True, slots=True)
class StatsRows:
    """What the database answered, one attribute a statement."""

    months: Sequence[Mapping[str, Any]]
    extremes: Mapping[str, Any]
    live: Mapping[str, Any]
    flows: Mapping[str, Any]
    flows_of_months: Sequence[Mapping[str, Any]]
    streak: Sequence[Mapping[str, Any]]
    risk: Mapping[str, Any]


def put_together(
    user_id: UUID, frame: Frame, rows: StatsRows, balance: BalanceView, wall: datetime
) -> StatsView:
    """Make the view of what was read."""
    opening = frame.opening_equity
    points = _equity_points(opening, rows, balance.unrealized_pnl)
    return StatsView(
        user_id=user_id,
        tier=frame.tier,
        broker=frame.venue,
        mode=frame.mode,
        account_age_days=max(0, (wall - frame.user_since) // _ONE_DAY),
        total_deposits=opening + rows.flows["deposits"],
        total_withdrawals=rows.flows["withdrawals"],
        flows_unpriced=unpriced_of(rows.flows),
        equity=balance.equity,
        unpriced=balance.unpriced,
        all_time_high=max(points),
        all_time_low=min(points),
        total_trades=sum(row["trades"] for row in rows.months),
        total_volume=sum((row["volume"] for row in rows.months), rows.live["volume"]),
        total_fees=sum((row["fees"] for row in rows.months), rows.live["fees"]),
        best_month=_best_month(rows, opening),
        streak=_present_streak(rows.streak),
        risk_level=rows.risk["risk_level"],
        limits=_limits(frame, rows.risk),
        # Spot: nothing is borrowed.
        current_leverage=ONE,
        available_leverage=ONE,
    )


def _equity_points(
    opening: Decimal, rows: StatsRows, unrealized_pnl: Decimal | None
) -> Sequence[Decimal]:
    """The beginning, the curve's highest and lowest day, and the present.

    The present is the curve's last point with what open positions have made until now, not what the
    account holds: no deposit, withdrawal or coin of the user's own is on the curve. Where an open
    position has no price it is left out.
    """
    highest, lowest = rows.extremes["highest"] or ZERO, rows.extremes["lowest"] or ZERO
    points = [ZERO, highest, lowest]
    if unrealized_pnl is not None:
        closed = sum((row["net_pnl"] for row in rows.months), ZERO)
        points.append(closed + rows.live["net_pnl"] + unrealized_pnl)
    return [opening + point for point in points]


def _best_month(rows: StatsRows, opening: Decimal) -> BestMonth | None:
    best: BestMonth | None = None
    equity = opening
    for row in rows.months:
        before = [flow["amount"] for flow in rows.flows_of_months if flow["month"] < row["month"]]
        within = [
            flow["weighted"] for flow in rows.flows_of_months if flow["month"] == row["month"]
        ]
        capital = equity + sum(before, ZERO) + sum(within, ZERO)
        if best is None or row["net_pnl"] > best.net_pnl:
            share = pct(row["price_pnl"], capital)
            name = f"{row['month']:%Y-%m}"
            best = BestMonth(name, row["price_pnl"], row["net_pnl"], share)
        equity += row["net_pnl"]
    return best


def _present_streak(rows: Sequence[Mapping[str, Any]]) -> Streak:
    if not rows:
        return Streak()
    return Streak(rows[0]["kind"], int(rows[0]["count"]), rows[0]["started"])


def _limits(frame: Frame, row: Mapping[str, Any]) -> EffectiveLimits:
    settings = SettingsLimits(
        max_position_size=row["max_position_size_usd"],
        max_positions=row["max_concurrent_positions"],
        max_daily_loss=row["max_daily_loss_usd"],
    )
    return effective_limits(frame.plan, settings, frame.mode)
