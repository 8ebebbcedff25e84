"""What time does to counters, keys and warnings; the worker's sweeper calls it now and then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.plans import PLANS, Tier
from domain.ports import WallClock
from services.billing.entitlements import plan_of
from services.billing.rows import find_row
from services.billing.usage import WARN_AT, calls_limit, count_usage, nearly_used, usage_period
from services.database import Database
from services.idempotency import IdempotencyKeys
from services.isolation import isolated
from services.notices import NoticeKind, tell

EVERY = timedelta(minutes=5)
"""How often there is anything to do."""

COUNTS_KEPT = timedelta(days=400)
"""Longer than the longest billing period: a closed one keeps its own copy of the sum."""

_WINDOW_KEPT = timedelta(minutes=2)
_WARNED_AT_ONCE = 200

_ADD_UP_PAST_DAYS = text("""
WITH moved AS (
    DELETE FROM api_call_counts WHERE day < :today AND shard <> 0 RETURNING user_id, day, calls
)
INSERT INTO api_call_counts AS c (user_id, day, shard, calls)
SELECT user_id, day, 0, sum(calls) FROM moved GROUP BY user_id, day
ON CONFLICT (user_id, day, shard) DO UPDATE SET calls = c.calls + excluded.calls
""")
_FORGET = (
    text("DELETE FROM api_call_counts WHERE day < :counts_before"),
    text("DELETE FROM call_windows WHERE second < :second"),
    text("DELETE FROM door_windows WHERE second < :second"),
)
_BUSY = text("""
WITH busy AS (
    SELECT user_id FROM api_call_counts WHERE day >= :since
    GROUP BY user_id HAVING sum(calls) >= :calls
  UNION
    SELECT user_id FROM orders WHERE leg = 'entry' AND intended_at >= :since
    GROUP BY user_id HAVING count(DISTINCT position_id) >= :trades
  UNION
    SELECT user_id FROM positions WHERE state IN ('pending', 'open')
    GROUP BY user_id HAVING count(*) >= :positions
)
SELECT user_id FROM busy WHERE user_id > :after ORDER BY user_id LIMIT :at_once
""")
_LONGEST_PERIOD = timedelta(days=366)
_NOBODY = UUID(int=0)


class LimitSweep:
    """Adds counts up, forgets old ones, and warns who is near a limit of the period.

    Args:
        database: all users' rows.
        idempotency: keys to forget after a day.
        clock: wall time.
    """

    def __init__(self, database: Database, idempotency: IdempotencyKeys, clock: WallClock) -> None:
        self._database = database
        self._idempotency = idempotency
        self._clock = clock
        self._next_at: datetime | None = None

    async def sweep(self) -> int:
        """Do what is due; answers how many users were near a limit. Most rounds nothing is due."""
        now = self._clock.now()
        if self._next_at is not None and now < self._next_at:
            return 0
        await self._tidy(now)
        await self._idempotency.purge()
        found = await self._warn(now)
        self._next_at = now + EVERY
        return found

    async def _tidy(self, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        names = {
            "counts_before": today - COUNTS_KEPT,
            "second": int((now - _WINDOW_KEPT).timestamp()),
        }
        async with self._database.as_system() as session:
            connection = await session.connection()
            await connection.execute(_ADD_UP_PAST_DAYS, {"today": today})
            for statement in _FORGET:
                await connection.execute(statement, names)

    async def _warn(self, now: datetime) -> int:
        after, found = _NOBODY, 0
        while True:
            users = await self._busy(now, after)
            for user_id in users:
                with isolated("limits.not_warned", user_id=user_id):
                    async with self._database.as_system() as session:
                        await warn(session, user_id, now)
            found += len(users)
            if len(users) < _WARNED_AT_ONCE:
                return found
            after = users[-1]

    async def _busy(self, now: datetime, after: UUID) -> Sequence[UUID]:
        """Users who may be near a limit: those who use as much as would be much on a free plan."""
        free = PLANS[Tier.FREE]
        names: dict[str, Any] = {
            "since": now - _LONGEST_PERIOD,
            "calls": ceil(calls_limit(free) * WARN_AT),
            "trades": ceil(free.limits.monthly_trades * WARN_AT),
            "positions": ceil(free.limits.max_positions * WARN_AT),
            "after": after,
            "at_once": _WARNED_AT_ONCE,
        }
        async with self._database.as_system() as session:
            found = await (await session.connection()).execute(_BUSY, names)
            return [user_id for (user_id,) in found]


async def warn(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Tell a user of limits of the current period that are nearly used up; each once a period."""
    row = await find_row(session, user_id)
    plan = await plan_of(session, user_id, now)
    since, until = usage_period(row, now)
    counts = await count_usage(session, user_id, since, until)
    for share in nearly_used(counts, plan):
        await tell(
            session,
            user_id,
            NoticeKind.LIMIT_NEAR,
            f"{share.what}:{since:%Y-%m-%d}:{share.limit}",
            now=now,
            facts={"what": share.what, "used": share.used, "limit": share.limit},
        )
