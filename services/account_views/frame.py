"""What a view over time stands on: the account, its venue's present, and how far back it goes.

How far back is the plan's business (`retention_days`, days of the venue's clock). Nothing is
deleted for it: with a larger plan the older trades are there again.
"""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain.markets import Mode
from domain.money import ZERO
from domain.plans import Plan
from services.account_views.choice import CHOSEN, AccountChoice, first_row
from services.billing.entitlements import plan_of_row

EVER = date.min
_MONTHS = 12
_ONE_DAY = timedelta(days=1)


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


_FRAME = """
SELECT chosen.id, chosen.venue, chosen.mode, chosen.currency, s.clock_at,
       coalesce(chosen.opening_equity, (
           SELECT e.equity FROM equity_snapshots e
           WHERE e.user_id = chosen.user_id AND e.account_id = chosen.id AND e.equity IS NOT NULL
           ORDER BY e.at LIMIT 1
       )) AS opening_equity,
       (
           SELECT coalesce(
               max(f.at) FILTER (WHERE f.kind = 'reset'),
               min(f.at) FILTER (WHERE f.kind = 'opening')
           ) FROM flows f WHERE f.user_id = chosen.user_id AND f.account_id = chosen.id
       ) AS began_at,
       u.subscription_tier, u.trial_ends_at, u.created_at, b.granted_tier, b.billed_until
FROM chosen
JOIN users u ON u.id = chosen.user_id
LEFT JOIN subscriptions b ON b.user_id = chosen.user_id
LEFT JOIN venue_states s ON s.venue = chosen.venue AND s.realm = chosen.realm
"""
FRAME = f"WITH {CHOSEN} {_FRAME}"
"""One row; parameters of `CHOSEN`."""

FRAME_OF_ACCOUNT = f"WITH chosen AS (SELECT * FROM accounts WHERE id = :account_id) {_FRAME}"
"""The same of a known account, in SQLAlchemy's form."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An account, and the times a view of it is about.

    Attributes:
        account_id: the account.
        venue: where it is.
        mode: paper or live.
        currency: of all amounts.
        now: venue time.
        opening_equity: what it began with; zero where nobody knows.
        began: the venue's day of its opening or last reset; None where nobody knows.
        plan: the plan in force.
        tier: the tier that the user's row says.
        user_since: when the user registered, wall time.
    """

    account_id: UUID
    venue: str
    mode: Mode
    currency: str
    now: datetime
    opening_equity: Decimal
    began: date | None
    plan: Plan
    tier: str
    user_since: datetime

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], choice: AccountChoice, wall: datetime) -> Frame:
        """Read the row of `FRAME`.

        Raises:
            NoBrokerConfigured: the caller has no such account.
        """
        row = first_row(rows, choice)
        plan = plan_of_row(row, wall)
        return cls(
            account_id=row["id"],
            venue=row["venue"],
            mode=Mode(row["mode"]),
            currency=row["currency"],
            # Until somebody looked at the venue's clock the wall clock stands in.
            now=row["clock_at"] or wall,
            opening_equity=row["opening_equity"] or ZERO,
            began=None if row["began_at"] is None else _day_of(row["began_at"]),
            plan=plan,
            tier=row["subscription_tier"],
            user_since=row["created_at"],
        )

    @property
    def today(self) -> date:
        """The venue's UTC day."""
        return _day_of(self.now)

    @property
    def retained_from(self) -> date | None:
        """The first day that the plan shows; None is all."""
        return self._days_ago(self.plan.limits.retention_days)

    def first_day(self, period: Period, before: date | None = None) -> date:
        """The first day of a period, as far back as the plan goes.

        Args:
            period: what was asked for.
            before: the day that the period ends before; it ends today where not given.
        """
        asked, retained = self._days_ago(period.days, before), self.retained_from
        return max(asked or EVER, retained or EVER)

    def _days_ago(self, days: int | None, before: date | None = None) -> date | None:
        end = before or self.today + _ONE_DAY
        return None if days is None else end - timedelta(days=days)


def _day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def midnight(day: date | None) -> datetime | None:
    """The beginning of a UTC day."""
    return None if day is None or day == EVER else datetime.combine(day, time(), UTC)


def months_from(first: date) -> date:
    """The first whole month of a period: its bucket and all later ones need no single days."""
    if first.day == 1:
        return first
    years, month = divmod(first.month, _MONTHS)
    return date(first.year + years, month + 1, 1)
