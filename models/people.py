"""Users, their sessions and refresh tokens."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.principal import Role
from models.columns import new_id, one_of, owned_by, timestamp_field


class UserStatus(StrEnum):
    """Whether a person may use the platform; suspended is an administrator's act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


class User(SQLModel, table=True):
    """A person. Email is stored lower-cased."""

    __tablename__ = "users"
    __table_args__ = (
        one_of("status", UserStatus),
        one_of("role", Role),
        one_of("subscription_tier", ("free", "basic", "pro", "enterprise")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email: str = Field(unique=True)
    email_verified_at: datetime | None = timestamp_field(nullable=True)
    full_name: str
    password_hash: str
    status: str = UserStatus.ACTIVE
    role: str = Role.USER
    subscription_tier: str = "free"
    trial_ends_at: datetime | None = timestamp_field(nullable=True)
    failed_logins: int = 0
    locked_until: datetime | None = timestamp_field(nullable=True)
    created_at: datetime = timestamp_field()
    last_active_at: datetime | None = timestamp_field(nullable=True)


class Session(SQLModel, table=True):
    """One login on one device: the family of its refresh tokens."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        Index("ix_sessions_live", "user_id", postgresql_where=text("revoked_at IS NULL")),
        Index("ix_sessions_expires", "expires_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    created_at: datetime = timestamp_field()
    last_used_at: datetime = timestamp_field()
    expires_at: datetime = timestamp_field()
    revoked_at: datetime | None = timestamp_field(nullable=True)
    revoked_reason: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


class RefreshToken(SQLModel, table=True):
    """A refresh token, stored as a hash; used once."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("session_id", "sessions"),
        Index("ix_refresh_tokens_session", "user_id", "session_id"),
        Index("ix_refresh_tokens_expires", "expires_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    session_id: UUID
    token_hash: str = Field(unique=True)
    issued_at: datetime = timestamp_field()
    expires_at: datetime = timestamp_field()
    used_at: datetime | None = timestamp_field(nullable=True)
