"""Subscriptions, commands to the payment provider, its events, notices, closed usage periods."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.billing import SubscriptionStatus
from domain.plans import BillingInterval, Tier
from models.columns import json_field, new_id, one_of, owned_by, timestamp_field


class Subscription(SQLModel, table=True):
    """What billing knows of a user; one row for life, also without any payment.

    `asked` counts the looks at the provider that were begun, `answered` is the newest whose answer
    is stored: an answer to an earlier look never replaces one to a later look. `granted_tier` is
    what billing last wrote to the user's tier, and `billed_until` bounds it. `email_digest` is of
    the address that the provider was last told, none where that is not known.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("status", SubscriptionStatus),
        one_of("tier", Tier),
        one_of("interval", BillingInterval),
        one_of("granted_tier", Tier),
        one_of("scheduled_tier", Tier),
        one_of("scheduled_interval", BillingInterval),
        Index("ix_subscriptions_next_look", "next_look_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(unique=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    customer_id: str | None = Field(default=None, unique=True)
    email_digest: str | None = None
    provider_id: str | None = Field(default=None, unique=True)
    status: str | None = None
    tier: str | None = None
    interval: str | None = None
    granted_tier: str | None = None
    billed_until: datetime | None = timestamp_field(nullable=True)
    period_start: datetime | None = timestamp_field(nullable=True)
    period_end: datetime | None = timestamp_field(nullable=True)
    cancel_at_period_end: bool = False
    scheduled_tier: str | None = None
    scheduled_interval: str | None = None
    arrears_since: datetime | None = timestamp_field(nullable=True)
    payment_method: dict[str, Any] | None = json_field(nullable=True)
    started_at: datetime | None = timestamp_field(nullable=True)
    ended_at: datetime | None = timestamp_field(nullable=True)
    asked: int = 0
    answered: int = 0
    looked_at: datetime | None = timestamp_field(nullable=True)
    next_look_at: datetime | None = timestamp_field(nullable=True)
    created_at: datetime = timestamp_field()


class CommandKind(StrEnum):
    """What a user may ask of the provider."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    CANCEL = "cancel"
    PAYMENT_METHOD = "payment_method"


class CommandState(StrEnum):
    """`open`: to be carried out, or not known how it ended."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"


class BillingCommand(SQLModel, table=True):
    """A user's command to the provider, committed before anything is sent.

    Its id is what all idempotency keys of its steps are made from, so carrying it out again has no
    second effect. `decided` holds what must not be computed twice (how much is refunded of what).
    """

    __tablename__ = "billing_commands"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("kind", CommandKind),
        one_of("state", CommandState),
        Index(
            "uq_billing_commands_open",
            "user_id",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_billing_commands_user_time", "user_id", text("created_at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    kind: str
    request: dict[str, Any] = json_field()
    decided: dict[str, Any] | None = json_field(nullable=True)
    state: str = CommandState.OPEN
    attempts: int = 0
    leased_until: datetime | None = timestamp_field(nullable=True)
    result: dict[str, Any] | None = json_field(nullable=True)
    refusal: dict[str, Any] | None = json_field(nullable=True)
    created_at: datetime = timestamp_field()
    finished_at: datetime | None = timestamp_field(nullable=True)


class StripeEvent(SQLModel, table=True):
    """An event that was verified and stored once; ids only, its subject is read at the provider."""

    __tablename__ = "stripe_events"
    __table_args__ = (
        Index(
            "ix_stripe_events_unhandled",
            "received_at",
            postgresql_where=text("handled_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    type: str
    created_at: datetime = timestamp_field()
    object_id: str | None = None
    customer_id: str | None = None
    received_at: datetime = timestamp_field()
    handled_at: datetime | None = timestamp_field(nullable=True)
    outcome: str | None = None


class Notice(SQLModel, table=True):
    """Something a user is to be told, in the transaction that made it true. `key`: told once.

    `message_id` is the message it is sent with, none while nobody has looked at it.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("user_id", "key"),
        owned_by("message_id", "messages"),
        Index("ix_notices_new", "created_at", postgresql_where=text("message_id IS NULL")),
        Index("ix_notices_message", "message_id"),
        Index("ix_notices_user_time", "user_id", text("created_at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    kind: str
    key: str
    facts: dict[str, Any] = json_field()
    created_at: datetime = timestamp_field()
    delivered_at: datetime | None = timestamp_field(nullable=True)
    message_id: UUID | None = None


class UsagePeriod(SQLModel, table=True):
    """What a user used in a billing period that is over."""

    __tablename__ = "usage_periods"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("user_id", "period_start"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    period_start: datetime = timestamp_field()
    period_end: datetime = timestamp_field()
    tier: str
    usage: dict[str, Any] = json_field()
    closed_at: datetime = timestamp_field()
