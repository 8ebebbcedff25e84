"""What a user may do at this moment: asked by every check of every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import entitled_plan
from domain.plans import Plan, Tier
from models.billing import Subscription
from models.people import User


async def plan_of(session: AsyncSession, user_id: UUID, now: datetime) -> Plan:
    """The plan that holds for a user at `now` (wall time), in the transaction that relies on it.

    A payment that is overdue beyond its grace, or a cancelled period that is over, ends the plan
    here at once, whether or not any workflow has noticed yet.
    """
    tier, trial_ends_at, granted, billed_until = (
        await session.exec(
            select(
                User.subscription_tier,
                User.trial_ends_at,
                Subscription.granted_tier,
                Subscription.billed_until,
            )
            .join(Subscription, col(Subscription.user_id) == User.id, isouter=True)
            .where(User.id == user_id)
        )
    ).one()
    return _entitled(tier, trial_ends_at, granted, billed_until, now)


def plan_of_row(row: Mapping[str, Any], now: datetime) -> Plan:
    """The same of a row that was read.

    Args:
        row: of `users` (`subscription_tier`, `trial_ends_at`) with its subscription
            (`granted_tier`, `billed_until`).
        now: wall time.
    """
    return _entitled(
        row["subscription_tier"],
        row["trial_ends_at"],
        row["granted_tier"],
        row["billed_until"],
        now,
    )


def _entitled(
    tier: str,
    trial_ends_at: datetime | None,
    granted: str | None,
    billed_until: datetime | None,
    now: datetime,
) -> Plan:
    return entitled_plan(
        Tier(tier),
        trial_ends_at=trial_ends_at,
        granted=None if granted is None else Tier(granted),
        billed_until=billed_until,
        now=now,
    )
