"""Disputes: a payer's bank asks a payment back. Recorded and told, and nothing else changes by it.

What becomes of the plan is for administrators to decide: a dispute may be a fraud, a mistake or
right, and Stripe settles it within weeks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import Dispute
from domain.principal import Role
from models.people import User, UserStatus
from services import audit
from services.notices import NoticeKind, tell

OPENED = "charge.dispute.created"
CLOSED = "charge.dispute.closed"

_KINDS = {
    OPENED: NoticeKind.PAYMENT_DISPUTED,
    CLOSED: NoticeKind.PAYMENT_DISPUTE_CLOSED,
}
_log = structlog.get_logger("nija.billing")


@dataclass(frozen=True, slots=True)
class Disputed:
    """A dispute about a payment of one of our users.

    Attributes:
        event_type: of the event that told of it.
    """

    event_type: str
    user_id: UUID
    dispute: Dispute


async def record_dispute(session: AsyncSession, disputed: Disputed, now: datetime) -> None:
    """Write to audit log and log, and leave a notice for every administrator.

    In the transaction that marks the event as handled, so that it happens once.
    """
    dispute, kind = disputed.dispute, _KINDS[disputed.event_type]
    facts = {
        "dispute": dispute.id,
        "payment": dispute.payment_id,
        "user_id": str(disputed.user_id),
        "amount": str(dispute.amount),
        "currency": dispute.currency,
        "reason": dispute.reason,
        "status": dispute.status,
        "answer_due_at": dispute.answer_due_at.isoformat() if dispute.answer_due_at else None,
    }
    audit.record(session, kind.value, user_id=disputed.user_id, at=now, meta=facts)
    administrators = await session.exec(
        select(User.id)
        .where(User.role == Role.ADMIN, User.status == UserStatus.ACTIVE)
        .order_by(col(User.id))
    )
    for administrator in administrators:
        await tell(session, administrator, kind, dispute.id, now=now, facts=facts)
    _log.warning(f"billing.{kind.value}", **facts)
