"""An account's own life: mailed links, second factors, and accounts that are being deleted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Column, Field, SQLModel

from models.columns import new_id, one_of, timestamp_field


class LinkPurpose(StrEnum):
    """What a mailed link is good for, once."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a purpose
    CHANGE_EMAIL = "change_email"


class MailedLink(SQLModel, table=True):
    """A link that is mailed to somebody and works once. Its secret is nowhere in the database.

    `address` is where it is mailed to: the user's own at that time, or the one they want instead.
    """

    __tablename__ = "mailed_links"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("purpose", LinkPurpose),
        Index("ix_mailed_links_recent", "user_id", "purpose", text("created_at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    purpose: str
    address: str
    created_at: datetime = timestamp_field()
    expires_at: datetime = timestamp_field()
    used_at: datetime | None = timestamp_field(nullable=True)
    voided_at: datetime | None = timestamp_field(nullable=True)


class SecondFactor(SQLModel, table=True):
    """A user's TOTP secret, sealed and bound to the user; in force from `enabled_at` on.

    `last_step` is the time step of the newest code that was accepted: none is accepted twice.
    """

    __tablename__ = "second_factors"

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = timestamp_field()
    enabled_at: datetime | None = timestamp_field(nullable=True)
    last_step: int | None = None


class RecoveryCode(SQLModel, table=True):
    """A code that stands in for a second factor once, stored as a hash."""

    __tablename__ = "recovery_codes"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("user_id", "code_hash"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    code_hash: str
    created_at: datetime = timestamp_field()
    used_at: datetime | None = timestamp_field(nullable=True)


class AccountDeletion(SQLModel, table=True):
    """That a user asked to be forgotten, and when that was done. It outlives the user."""

    __tablename__ = "account_deletions"
    __table_args__ = (
        Index(
            "ix_account_deletions_unfinished",
            "requested_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    user_id: UUID = Field(primary_key=True)
    requested_at: datetime = timestamp_field()
    finished_at: datetime | None = timestamp_field(nullable=True)
