"""What a user used in a period: counted from the tables that hold it, never from a copy."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import SubscriptionStatus
from domain.plans import BillingInterval, Plan
from models.billing import Subscription, UsagePeriod
from models.columns import new_id

WARN_AT = 0.8
"""The share of a limit from which on the user is warned."""

_DAYS_A_MONTH = 30
_MONTHS_A_YEAR = 12
_MINUTES_A_DAY = 24 * 60

_COUNTS = text("""
SELECT
  (SELECT coalesce(max(n), 0) FROM (SELECT count(DISTINCT o.position_id) AS n FROM orders o
    WHERE o.user_id = :user_id AND o.leg = 'entry' AND o.filled_quantity > 0
      AND o.intended_at >= :since AND o.intended_at < :until
    GROUP BY o.account_id) AS of_account) AS trades_executed,
  (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM positions p
    WHERE p.user_id = :user_id AND p.state IN ('open', 'closed')
      AND EXISTS (SELECT 1 FROM orders o WHERE o.position_id = p.id AND o.leg = 'entry'
        AND o.intended_at >= :since AND o.intended_at < :until)
    GROUP BY p.account_id) AS of_account) AS positions_opened,
  (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM positions p
    WHERE p.user_id = :user_id AND p.state IN ('pending', 'open')
    GROUP BY p.account_id) AS of_account) AS positions_live,
  (SELECT count(*) FROM connections c
    WHERE c.user_id = :user_id AND c.status IN ('connected', 'broken')) AS brokers_connected
""")


@dataclass(frozen=True, slots=True)
class Counts:
    """Counted things; `positions_live` is of this moment.

    Trades and positions are of the account that has most of them: each account has the plan's
    limits for itself, and paper and live are never summed.
    """

    api_calls: int
    trades_executed: int
    positions_opened: int
    positions_live: int
    brokers_connected: int

    def record(self) -> dict[str, Any]:
        """As stored with a closed period."""
        return asdict(self)


def calls_limit(plan: Plan) -> int:
    """Calls that the plan's rate allows in thirty days."""
    return plan.limits.api_calls_per_minute * _MINUTES_A_DAY * _DAYS_A_MONTH


def calendar_month(now: datetime) -> tuple[datetime, datetime]:
    """The period of a user who pays nothing: the calendar month, UTC."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = divmod(start.year * 12 + start.month, 12)
    return start, start.replace(year=year, month=month + 1)


def current_period(row: Subscription | None, now: datetime) -> tuple[datetime, datetime]:
    """The period that is billed: the paid one, else the calendar month."""
    is_live = row is not None and row.status is not None and SubscriptionStatus(row.status).is_live
    if is_live and row is not None and row.period_start and row.period_end:
        return row.period_start, row.period_end
    return calendar_month(now)


def usage_period(row: Subscription | None, now: datetime) -> tuple[datetime, datetime]:
    """The period that usage is counted in: the one that is billed, but a paid year by its months.

    The limits that it is held against are those of thirty days.
    """
    start, end = current_period(row, now)
    if row is None or row.interval != BillingInterval.YEARLY or row.period_start != start:
        return start, end
    start = start.astimezone(UTC)
    gone = (now.year - start.year) * _MONTHS_A_YEAR + now.month - start.month
    if _months_after(start, gone) > now:
        gone -= 1
    gone = min(max(gone, 0), _MONTHS_A_YEAR - 1)
    return _months_after(start, gone), min(_months_after(start, gone + 1), end)


def _months_after(moment: datetime, months: int) -> datetime:
    """The same day of a later month, or its last one where it has no such day."""
    year, month = divmod(moment.year * _MONTHS_A_YEAR + moment.month - 1 + months, _MONTHS_A_YEAR)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


async def count_usage(
    session: AsyncSession, user_id: UUID, since: datetime, until: datetime
) -> Counts:
    """Count what a user did from `since` until before `until` (wall time)."""
    connection = await session.connection()
    row = (
        (await connection.execute(_COUNTS, {"user_id": user_id, "since": since, "until": until}))
        .mappings()
        .one()
    )
    return Counts(api_calls=await count_api_calls(session, user_id, since, until), **row)


async def count_api_calls(
    session: AsyncSession, user_id: UUID, since: datetime, until: datetime
) -> int:
    """Calls of a user in a period, by whole UTC days: a period begins with its first day."""
    connection = await session.connection()
    counted = await connection.scalar(
        text(
            "SELECT coalesce(sum(calls), 0) FROM api_call_counts"
            " WHERE user_id = :user_id AND day >= :since AND day < :until"
        ),
        {"user_id": user_id, "since": since.date(), "until": until.date()},
    )
    return int(counted or 0)


async def close_period(
    session: AsyncSession, row: Subscription, until: datetime, now: datetime
) -> None:
    """Keep what was used in the stored period, which ended at `until`."""
    if row.period_start is None or row.tier is None:
        return
    counts = await count_usage(session, row.user_id, row.period_start, until)
    await (await session.connection()).execute(
        insert(UsagePeriod)
        .values(
            id=new_id(),
            user_id=row.user_id,
            period_start=row.period_start,
            period_end=until,
            tier=row.tier,
            usage=counts.record(),
            closed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["user_id", "period_start"])
    )


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a limit is used."""

    what: str
    used: int
    limit: int

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{self.used} of {self.limit} {self.what} used ({self.used * 100 // self.limit} %)"


def nearly_used(counts: Counts, plan: Plan) -> list[Share]:
    """The limits of which at least `WARN_AT` is used."""
    limits = plan.limits
    shares = (
        Share("API calls", counts.api_calls, calls_limit(plan)),
        Share("trades", counts.trades_executed, limits.monthly_trades),
        Share("concurrent positions", counts.positions_live, limits.max_positions),
    )
    return [share for share in shares if share.limit and share.used >= share.limit * WARN_AT]


def warnings_of(counts: Counts, plan: Plan) -> list[str]:
    """Sentences about limits that are nearly used up."""
    return [share.sentence for share in nearly_used(counts, plan)]
