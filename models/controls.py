"""Kill switches, the audit log, idempotency keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import json_field, new_id, one_of, timestamp_field


class KillScope(StrEnum):
    """What a kill switch stops the entries of."""

    GLOBAL = "global"
    USER = "user"
    BROKER = "broker"


class KillSwitch(SQLModel, table=True):
    """A stop of entries that survives restarts, until somebody releases it with a reason."""

    __tablename__ = "kill_switches"
    __table_args__ = (
        one_of("scope", KillScope),
        CheckConstraint("(scope = 'user') = (user_id IS NOT NULL)", name="user_scope"),
        CheckConstraint("(scope = 'broker') = (venue IS NOT NULL)", name="broker_scope"),
        Index(
            "uq_kill_switches_active",
            "scope",
            text("coalesce(user_id::text, '')"),
            text("coalesce(venue, '')"),
            unique=True,
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    scope: str
    user_id: UUID | None = Field(
        default=None, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    venue: str | None = None
    reason: str
    engaged_by: UUID | None = None
    engaged_at: datetime = timestamp_field()
    released_at: datetime | None = timestamp_field(nullable=True)
    released_by: UUID | None = None
    release_reason: str | None = None


class AuditEntry(SQLModel, table=True):
    """One line of the audit log: append-only, for people and operators. Never holds a secret."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_user_time", "user_id", text("at DESC")),
        Index("ix_audit_log_type_time", "event_type", text("at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = timestamp_field()
    event_type: str
    user_id: UUID | None = None
    actor_id: UUID | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    meta: dict[str, Any] = json_field()


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a mutating call with an `Idempotency-Key`, kept for 24 hours."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    key: str
    request_hash: str
    status_code: int | None = None
    response: dict[str, Any] | None = json_field(nullable=True)
    created_at: datetime = timestamp_field(index=True)
