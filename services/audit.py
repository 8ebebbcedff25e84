"""The audit log: who did what, when, from where. Append-only; a secret never gets in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.controls import AuditEntry
from services.origin import current_origin
from services.redaction import redact


class AuditEvent(StrEnum):
    """What can be found in `audit_log.event_type`."""

    USER_REGISTERED = "user_registered"
    USER_LOGIN = "user_login"
    LOGIN_FAILED = "login_failed"
    ACCOUNT_LOCKED = "account_locked"
    USER_LOGOUT = "user_logout"
    SESSION_REVOKED = "session_revoked"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - the name of an event
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an event
    PASSWORD_RESET_REQUESTED = "password_reset_requested"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of an event
    EMAIL_VERIFIED = "email_verified"
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_CHANGED = "email_changed"
    TWO_FACTOR_SET_UP = "two_factor_set_up"
    TWO_FACTOR_ENABLED = "two_factor_enabled"
    TWO_FACTOR_DISABLED = "two_factor_disabled"
    TWO_FACTOR_RESET = "two_factor_reset"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_REPLACED = "recovery_codes_replaced"
    ACCOUNT_DELETION_REQUESTED = "account_deletion_requested"
    ACCOUNT_DELETED = "account_deleted"
    SETTINGS_CHANGED = "settings_changed"
    BROKER_ADDED = "broker_added"
    BROKER_ROTATED = "broker_rotated"
    BROKER_TESTED = "broker_tested"
    BROKER_REMOVED = "broker_removed"
    PAPER_RESET = "paper_account_reset"
    WEBHOOK_KEY_ISSUED = "webhook_key_issued"
    WEBHOOK_KEY_REVOKED = "webhook_key_revoked"
    TRADING_STARTED = "trading_started"
    TRADING_STOPPED = "trading_stopped"
    TRADING_PAUSED = "trading_paused"
    TRADING_RESUMED = "trading_resumed"
    EMERGENCY_STOP = "emergency_stop"
    EMERGENCY_RELEASED = "emergency_stop_released"
    POSITION_CLOSED = "position_close_requested"
    POSITION_REDUCED = "position_reduce_requested"
    POSITION_WRITTEN_OFF = "position_written_off"
    POSITION_MODIFIED = "position_modified"
    FEE_CORRECTED = "fee_corrected"
    TRADE_EXECUTED = "trade_executed"
    CHANNEL_ADDED = "notification_channel_added"
    CHANNEL_CHANGED = "notification_channel_changed"
    CHANNEL_REMOVED = "notification_channel_removed"
    KILL_SWITCH_ENGAGED = "kill_switch_engaged"
    KILL_SWITCH_RELEASED = "kill_switch_released"
    KILL_SWITCH_TOLD = "kill_switch_told"
    USER_UPDATED = "user_updated_by_admin"
    EXPORT_REQUESTED = "export_requested"
    ADMIN_READ = "admin_read"


def stored_meta(text: str) -> dict[str, Any]:
    """The `meta` of an entry, from its JSON text: fractions stay the decimals they are."""
    meta: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return meta


def record(
    session: AsyncSession,
    event_type: AuditEvent | str,
    *,
    user_id: UUID | None,
    actor_id: UUID | None = None,
    ip: str | None = None,
    user_agent: str | None = None,
    meta: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> None:
    """Add an entry to the caller's transaction, so that it stands exactly if the act does.

    The actor is the user unless told otherwise; address and client come from the request being
    served. Values in `meta` under a secret's name are blanked. `at` is wall time.
    """
    origin = current_origin()
    session.add(
        AuditEntry(
            at=at or datetime.now(UTC),
            event_type=str(event_type),
            user_id=user_id,
            actor_id=actor_id or user_id,
            ip_address=ip or origin.ip,
            user_agent=user_agent or origin.user_agent,
            meta=redact(meta or {}),
        )
    )
