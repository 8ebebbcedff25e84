"""Writing what the provider reported into our rows, and telling the user what changed by it.

Everything follows from the difference between the stored state and the reported one, so the same
report applied twice, or events in any order, change nothing and tell nothing a second time.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import (
    Snapshot,
    SubscriptionStatus,
    billed_until,
    granted_tier,
)
from domain.billing import Subscription as Reported
from domain.plans import Tier
from models.billing import Subscription
from models.people import User
from services import audit
from services.billing.usage import close_period
from services.notices import NoticeKind, tell


async def apply_snapshot(
    session: AsyncSession,
    row: Subscription,
    snapshot: Snapshot,
    *,
    ticket: int,
    began: datetime,
    now: datetime,
) -> bool:
    """Store a report unless one to a later look is stored already; the row is locked.

    Args:
        session: of the user.
        row: the user's.
        snapshot: the report.
        ticket: the number of the look that it answers.
        began: when that look began.
        now: the present.

    Returns:
        Whether it was stored.
    """
    if ticket <= row.answered:
        return False
    row.answered, row.looked_at = ticket, began
    row.customer_id = snapshot.customer_id
    row.payment_method = asdict(snapshot.payment_method) if snapshot.payment_method else None
    reported = snapshot.subscription
    if reported is None and row.provider_id is not None:
        # The customer was deleted at the provider, and all that was theirs with it.
        row.status, row.ended_at = SubscriptionStatus.CANCELED.value, row.ended_at or now
    if reported is not None:
        await _tell_changes(session, row, reported, now)
        await _close_period(session, row, reported, now)
        _store(row, reported)
    await grant(session, row, reported, now)
    session.add(row)
    return True


def _store(row: Subscription, reported: Reported) -> None:
    in_arrears = reported.status.is_in_arrears
    if not in_arrears:
        row.arrears_since = None
    elif row.arrears_since is None or row.provider_id != reported.id:
        bill = reported.latest_invoice
        row.arrears_since = reported.period_start if bill is None else bill.created_at
    row.provider_id, row.status = reported.id, reported.status.value
    row.tier, row.interval = reported.choice.tier.value, reported.choice.interval.value
    row.period_start, row.period_end = reported.period_start, reported.period_end
    row.cancel_at_period_end = reported.cancel_at_period_end
    scheduled = reported.scheduled
    row.scheduled_tier = scheduled.tier.value if scheduled else None
    row.scheduled_interval = scheduled.interval.value if scheduled else None
    row.started_at, row.ended_at = reported.created_at, reported.ended_at
    row.billed_until = billed_until(reported, row.arrears_since)


async def _close_period(
    session: AsyncSession, row: Subscription, reported: Reported, now: datetime
) -> None:
    """Roll the usage over where the report is of another period than the stored one."""
    if row.provider_id is None or row.ended_at is not None or row.period_start is None:
        return
    if row.provider_id != reported.id or reported.period_start > row.period_start:
        await close_period(session, row, reported.period_start, now)
    elif reported.ended_at is not None:
        await close_period(session, row, reported.ended_at, now)


async def grant(
    session: AsyncSession, row: Subscription, reported: Reported | None, now: datetime
) -> None:
    """Give the user the tier that is paid for, where that is another one than billing last gave.

    A user whom billing never gave anything, or whom an administrator gave another tier since,
    keeps what they have until the paid plan itself changes.
    """
    tier = granted_tier(reported, row.billed_until, now)
    await give(session, row, tier, now)


async def give(session: AsyncSession, row: Subscription, tier: Tier, now: datetime) -> None:
    """Write a tier; a loss is told as such."""
    before = row.granted_tier
    if before == tier or (before is None and tier is Tier.FREE):
        return
    user = (await session.exec(select(User).where(User.id == row.user_id))).one()
    previous = user.subscription_tier
    user.subscription_tier = row.granted_tier = tier.value
    session.add(user)
    session.add(row)
    audit.record(
        session,
        "subscription_tier_changed",
        user_id=row.user_id,
        at=now,
        meta={"from": previous, "to": tier.value, "cause": "billing", "status": row.status},
    )
    lost = tier is Tier.FREE
    await tell(
        session,
        row.user_id,
        NoticeKind.PLAN_LOST if lost else NoticeKind.PLAN_CHANGED,
        f"{row.provider_id}:{row.answered}:{tier.value}",
        now=now,
        facts={"from": before or Tier.FREE.value, "to": tier.value},
    )


async def _tell_changes(
    session: AsyncSession, row: Subscription, reported: Reported, now: datetime
) -> None:
    known = row.provider_id == reported.id
    was = SubscriptionStatus(row.status) if known and row.status else None
    bill = reported.latest_invoice
    about = f"{reported.id}:{bill.id if bill else reported.period_start.isoformat()}"
    facts = {
        "tier": reported.choice.tier.value,
        "interval": reported.choice.interval.value,
        "amount_due": str(bill.amount_due) if bill else None,
        "period_end": reported.period_end.isoformat(),
    }

    async def say(kind: NoticeKind, about: str = about) -> None:
        await tell(session, row.user_id, kind, about, now=now, facts=facts)

    if reported.status.is_in_arrears and not (was and was.is_in_arrears):
        await say(NoticeKind.PAYMENT_FAILED)
    if reported.status is SubscriptionStatus.ACTIVE and was is not None:
        if was.is_in_arrears:
            await say(NoticeKind.PAYMENT_RECOVERED)
        elif row.period_end is not None and reported.period_start >= row.period_end:
            await say(NoticeKind.RENEWED)
    if reported.cancel_at_period_end and not (known and row.cancel_at_period_end):
        await say(NoticeKind.CANCELLATION_SET, f"{reported.id}:{reported.period_end.isoformat()}")
    if reported.status is SubscriptionStatus.CANCELED and was is not SubscriptionStatus.CANCELED:
        await say(NoticeKind.SUBSCRIPTION_ENDED, reported.id)
