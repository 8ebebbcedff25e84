"""Notices: what a user is to be told, written in the transaction that made it true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from models.billing import Notice
from models.columns import new_id


class NoticeKind(StrEnum):
    """What users are told."""

    TRIAL_ENDING = "trial_ending"
    TRIAL_ENDED = "trial_ended"
    PLAN_CHANGED = "plan_changed"
    PLAN_LOST = "plan_lost"
    RENEWED = "subscription_renewed"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_RECOVERED = "payment_recovered"
    CANCELLATION_SET = "cancellation_set"
    SUBSCRIPTION_ENDED = "subscription_ended"
    REFUNDED = "refunded"
    PAYMENT_DISPUTED = "payment_disputed"
    PAYMENT_DISPUTE_CLOSED = "payment_dispute_closed"
    POSITION_CAME_BACK = "position_came_back"
    SURPLUS_EXIT = "surplus_exit"
    EXIT_FAILING = "exit_failing"
    EXIT_PART_REFUSED = "exit_part_refused"
    ORDER_VANISHED = "order_vanished"
    ORDER_UNRESOLVED = "order_unresolved"
    CLOSED_ELSEWHERE = "closed_elsewhere"
    MARKET_HALTED = "market_halted"
    LIMIT_NEAR = "limit_near"
    KILL_SWITCH = "kill_switch"
    KILL_SWITCH_CLOSING = "kill_switch_closing"
    KILL_SWITCH_RELEASED = "kill_switch_released"
    ACCOUNT_STATUS = "account_status_changed"
    TRADE_OPENED = "trade_opened"
    TRADE_CLOSED = "trade_closed"
    STOP_HIT = "stop_hit"
    TARGET_HIT = "target_hit"
    PART_CLOSED = "part_closed"
    EXIT_ALERT_STALE = "exit_alert_stale"
    EMERGENCY_STOP = "emergency_stop"
    DAILY_LOSS_REACHED = "daily_loss_reached"
    KEYS_REFUSED = "keys_refused"
    NEW_LOGIN = "new_login"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a kind
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind
    ACCOUNT_LOCKED = "account_locked"
    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a kind
    CONFIRM_EMAIL_CHANGE = "confirm_email_change"
    EMAIL_CHANGED = "email_changed"
    TWO_FACTOR_ENABLED = "two_factor_enabled"
    TWO_FACTOR_DISABLED = "two_factor_disabled"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_REPLACED = "recovery_codes_replaced"
    WEBHOOK_KEY_ISSUED = "webhook_key_issued"
    ACCOUNT_DELETION_REQUESTED = "account_deletion_requested"


async def tell(
    session: AsyncSession,
    user_id: UUID,
    kind: NoticeKind,
    about: str,
    *,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Leave a notice for delivery; the same one (kind and what it is about) is left only once."""
    await (await session.connection()).execute(
        insert(Notice)
        .values(
            id=new_id(),
            user_id=user_id,
            kind=kind.value,
            key=f"{kind.value}:{about}",
            facts=dict(facts or {}),
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["user_id", "key"])
    )
