"""Webhook keys, and every alert that came with one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.alerts import OPEN_STATES, AlertState
from domain.contracts.bots import SignalAction
from domain.positions import Direction
from models.columns import amount_field, json_field, new_id, one_of, owned_by, timestamp_field

_OPEN = ", ".join(f"'{state}'" for state in OPEN_STATES)
FOLLOWED = f"state IN ({_OPEN}) AND duplicate_of IS NULL"
"""Alerts of which something is still to come, as SQL."""


class WebhookKey(SQLModel, table=True):
    """A key that alerts come with. Only its SHA-256 is kept: the key itself is 256 random bits.

    One without an end is the user's present key; a replaced one may stay good until its end.
    One that was ended at once has the end `created_at`.
    """

    __tablename__ = "webhook_keys"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        Index(
            "uq_webhook_keys_present",
            "user_id",
            unique=True,
            postgresql_where=text("ends_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    key_hash: str = Field(unique=True)
    hint: str
    created_at: datetime = timestamp_field()
    last_used_at: datetime | None = timestamp_field(nullable=True)
    ends_at: datetime | None = timestamp_field(nullable=True)


class Alert(SQLModel, table=True):
    """A received alert and its outcome. The id is that of the position it may open.

    `trade_id` is what the sender was told: that position, or the one that the alert takes back;
    none for an alert that was refused on receipt, or closes what nobody holds. `dedup_key` is what
    makes another alert the same one; only first ones have it. An accepted alert with `duplicate_of`
    asks for nothing but what that one asks for: it has its outcome, and is not followed.
    `exit_positions` are the positions that an exit was first decided on, where one of them was
    locked: it leaves no other.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("key_id", "webhook_keys"),
        owned_by("bot_id", "bots"),
        owned_by("duplicate_of", "alerts"),
        one_of("state", AlertState),
        one_of("action", SignalAction),
        one_of("side", Direction),
        Index(
            "uq_alerts_dedup_key",
            "user_id",
            "dedup_key",
            unique=True,
            postgresql_where=text("dedup_key IS NOT NULL"),
        ),
        Index("ix_alerts_user_time", "user_id", text("received_at DESC"), text("id DESC")),
        Index("ix_alerts_key_time", "key_id", "received_at"),
        Index("ix_alerts_duplicate_of", "duplicate_of"),
        Index(
            "ix_alerts_inbox",
            "user_id",
            "received_at",
            postgresql_where=text("state='processing'"),
        ),
        Index(
            "ix_alerts_forgettable",
            "received_at",
            postgresql_where=text(
                "dedup_key IS NULL AND (state IN ('duplicate', 'stale', 'refused')"
                " OR state = 'accepted' AND duplicate_of IS NOT NULL)"
            ),
        ),
        Index(
            "ix_alerts_followed",
            "user_id",
            "received_at",
            postgresql_where=text(FOLLOWED),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    key_id: UUID
    bot_id: UUID | None = None
    state: str = AlertState.PROCESSING
    reason: str | None = None
    details: dict[str, Any] | None = json_field(nullable=True)
    action: str | None = None
    symbol: str | None = None
    price: Decimal | None = amount_field(nullable=True)
    size_usd: Decimal | None = amount_field(nullable=True)
    quantity: Decimal | None = amount_field(nullable=True)
    percent: Decimal | None = amount_field(nullable=True)
    side: str | None = None
    strategy: str | None = None
    reference: str | None = None
    dedup_key: str | None = None
    duplicate_of: UUID | None = None
    trade_id: UUID | None = None
    exit_positions: list[str] | None = json_field(nullable=True)
    alerted_at: datetime | None = timestamp_field(nullable=True)
    received_at: datetime = timestamp_field()
    expires_at: datetime = timestamp_field()
    decided_at: datetime | None = timestamp_field(nullable=True)
    finished_at: datetime | None = timestamp_field(nullable=True)
