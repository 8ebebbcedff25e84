"""Kill switches, the audit log and its chain, idempotency keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from models.columns import json_field, new_id, one_of, timestamp_field


class KillScope(StrEnum):
    """What a kill switch stops the entries of."""

    GLOBAL = "global"
    USER = "user"
    BROKER = "broker"


class KillSwitch(SQLModel, table=True):
    """A stop of entries that survives restarts, until somebody releases it with a reason.

    `revision` grows with everything bots and users have to be told of (engaged, escalated,
    released), `handled_revision` is the last one of which all were told, and `report` what came of
    it.
    """

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
        Index(
            "ix_kill_switches_unhandled",
            "id",
            postgresql_where=text("handled_revision < revision"),
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
    close_positions: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    closing_since: datetime | None = timestamp_field(nullable=True)
    closing_by: UUID | None = None
    closing_reason: str | None = None
    notify_users: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    handled_revision: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    report: dict[str, Any] | None = json_field(nullable=True)


class AuditEntry(SQLModel, table=True):
    """One line of the audit log: append-only, for people and operators. Never holds a secret.

    `sequence`, `previous_hash` and `hash` seal it into the chain some seconds after it committed
    (`services.audit_chain`); they are written once and nothing else is ever changed.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_user_time", "user_id", text("at DESC")),
        Index("ix_audit_log_type_time", "event_type", text("at DESC")),
        Index("ix_audit_log_time", text("at DESC"), text("id DESC")),
        Index("ix_audit_log_unsealed", "at", "id", postgresql_where=text("sequence IS NULL")),
        CheckConstraint(
            "(sequence IS NULL) = (hash IS NULL) AND (hash IS NULL) = (previous_hash IS NULL)",
            name="sealed_whole",
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = timestamp_field()
    event_type: str
    user_id: UUID | None = None
    actor_id: UUID | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    meta: dict[str, Any] = json_field()
    sequence: int | None = Field(
        default=None, sa_column=Column(BigInteger, unique=True, nullable=True)
    )
    previous_hash: str | None = None
    hash: str | None = None


class AuditChain(SQLModel, table=True):
    """The end of a chain of audit entries: without it, a row missing at the end would not show."""

    __tablename__ = "audit_chains"

    name: str = Field(primary_key=True)
    sequence: int = Field(sa_column=Column(BigInteger, nullable=False))
    hash: str
    sealed_at: datetime = timestamp_field()


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a mutating call with an `Idempotency-Key`, kept for 24 hours."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    key: str
    request_hash: str
    command_id: UUID = Field(
        default_factory=new_id, sa_column_kwargs={"server_default": text("gen_random_uuid()")}
    )
    """Names what the request does; all attempts at it share it."""
    status_code: int | None = None
    response: dict[str, Any] | None = json_field(nullable=True)
    created_at: datetime = timestamp_field(index=True)
