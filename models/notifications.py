"""Notification channels, a user's wishes about them, messages, and what became of each."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import json_field, new_id, one_of, owned_by, timestamp_field


class NotificationChannel(SQLModel, table=True):
    """Somewhere a user wants to be told: a chat, a push service, a webhook, another mailbox.

    `sealed` is the address with its secrets, encrypted for this row; `masked` is what may be shown
    of it. `categories` are the kinds of news that this channel gets.
    """

    __tablename__ = "notification_channels"
    __table_args__ = (UniqueConstraint("user_id", "id"), UniqueConstraint("user_id", "name"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    name: str
    service: str
    is_mail: bool
    masked: str
    sealed: bytes
    categories: list[str] = json_field(factory=list)
    enabled: bool = True
    last_sent_at: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = None
    last_error_at: datetime | None = timestamp_field(nullable=True)
    created_at: datetime = timestamp_field()


class NotificationPreferences(SQLModel, table=True):
    """When a user wants reports. No row means the defaults: 08:00 UTC, Mondays.

    `daily_schedule` and `weekly_schedule` say how the schedules were last made, so that the sweep
    finds those that are not as they should be; one process at a time, by the lease, makes them.
    `next_look_at` is when the user's delivery workflow means to look again; one that has not looked
    by then is woken.
    """

    __tablename__ = "notification_preferences"
    __table_args__ = (
        CheckConstraint("report_hour BETWEEN 0 AND 23", name="report_hour"),
        CheckConstraint("report_minute BETWEEN 0 AND 59", name="report_minute"),
        CheckConstraint("weekly_day BETWEEN 1 AND 7", name="weekly_day"),
        Index("ix_notification_preferences_next_look", "next_look_at"),
    )

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    timezone: str = "UTC"
    report_hour: int = 8
    report_minute: int = 0
    weekly_day: int = 1
    daily_schedule: str | None = None
    weekly_schedule: str | None = None
    schedules_leased_until: datetime | None = timestamp_field(nullable=True)
    next_look_at: datetime | None = timestamp_field(nullable=True)
    updated_at: datetime = timestamp_field()


class MessageKind(StrEnum):
    """`digest`: several notices in one message."""

    NOTICE = "notice"
    DIGEST = "digest"
    DAILY_SUMMARY = "daily_summary"
    WEEKLY_REPORT = "weekly_report"


class MessageState(StrEnum):
    """`open`: still to be sent somewhere. `nowhere`: there was nowhere to send it to."""

    OPEN = "open"
    SENT = "sent"
    FAILED = "failed"
    NOWHERE = "nowhere"
    STALE = "stale"


class Message(SQLModel, table=True):
    """What is sent as one: a notice, a digest of notices, or a report. `key`: made once.

    Reports keep their figures in `payload`, so that a later attempt says the same.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("user_id", "key"),
        one_of("kind", MessageKind),
        one_of("state", MessageState),
        Index("ix_messages_open", "user_id", "send_at", postgresql_where=text("state = 'open'")),
        Index("ix_messages_user_time", "user_id", text("created_at DESC")),
        Index(
            "ix_messages_forgettable",
            "finished_at",
            postgresql_where=text("category IN ('trades', 'reports')"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    kind: str
    key: str
    category: str
    payload: dict[str, Any] = json_field()
    state: str = MessageState.OPEN
    send_at: datetime = timestamp_field()
    created_at: datetime = timestamp_field()
    finished_at: datetime | None = timestamp_field(nullable=True)


class DeliveryState(StrEnum):
    """`sending`: an attempt is under way, or its process died; tried again when its lease ends."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self not in {self.PENDING, self.SENDING}


class Delivery(SQLModel, table=True):
    """A message on its way to one channel; without a channel, to the user's own mail address."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("message_id", "channel_id", postgresql_nulls_not_distinct=True),
        owned_by("message_id", "messages"),
        owned_by("channel_id", "notification_channels"),
        one_of("state", DeliveryState),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    message_id: UUID
    channel_id: UUID | None = None
    state: str = DeliveryState.PENDING
    attempts: int = 0
    next_attempt_at: datetime | None = timestamp_field(nullable=True)
    leased_until: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = None
    finished_at: datetime | None = timestamp_field(nullable=True)
