"""Venue connections (a user's stored keys), trading accounts, and trading settings."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Column, Field, SQLModel

from domain.markets import Mode, Realm
from models.columns import amount_field, json_field, new_id, one_of, owned_by, timestamp_field


class ConnectionStatus(StrEnum):
    """`exit_only`: being removed, exits still use it. `broken`: the venue refused the keys."""

    CONNECTED = "connected"
    BROKEN = "broken"
    EXIT_ONLY = "exit_only"
    REMOVED = "removed"


class Connection(SQLModel, table=True):
    """A user's keys at a venue. The secrets are one sealed blob, bound to this row and user."""

    __tablename__ = "connections"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("status", ConnectionStatus),
        one_of("realm", Realm),
        Index(
            "uq_connections_live_venue",
            "user_id",
            "venue",
            "realm",
            unique=True,
            postgresql_where=text("status <> 'removed'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    venue: str
    realm: str
    status: str = ConnectionStatus.CONNECTED
    version: int = 1
    api_key_masked: str
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    permissions: list[str] = json_field(factory=list)
    last_connected_at: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = None
    created_at: datetime = timestamp_field()
    removed_at: datetime | None = timestamp_field(nullable=True)


class Account(SQLModel, table=True):
    """A trading account: what orders, fills, positions, equity and limits hang on.

    `reconciled_at` is when it was last looked at, or earlier where something could not be looked up
    whose absence is doubted: that doubt lasts. `reconcile_tried_at` is when a reconciliation was
    last answered at all: by a look, or by refusing its keys (`reconcile_error`).
    """

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("mode", Mode),
        one_of("realm", Realm),
        owned_by("connection_id", "connections", ondelete="NO ACTION"),
        CheckConstraint("(mode = 'live') = (connection_id IS NOT NULL)", name="live_has_keys"),
        Index(
            "uq_accounts_paper",
            "user_id",
            "venue",
            "realm",
            unique=True,
            postgresql_where=text("mode = 'paper'"),
        ),
        Index(
            "uq_accounts_connection",
            "connection_id",
            unique=True,
            postgresql_where=text("mode = 'live'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    venue: str
    realm: str
    mode: str
    connection_id: UUID | None = None
    currency: str = "USD"
    created_at: datetime = timestamp_field()
    opening_equity: Decimal | None = amount_field(nullable=True)
    reconciled_at: datetime | None = timestamp_field(nullable=True)
    reconcile_tried_at: datetime | None = timestamp_field(nullable=True)
    reconcile_error: str | None = None


class UserSettings(SQLModel, table=True):
    """A user's settings; the defaults are the contract's.

    `*_changed_at` (wall time) is when a leaf last got another value: a run that was started before
    is bound by it, one that was started later may have chosen otherwise.
    """

    __tablename__ = "user_settings"
    __table_args__ = (
        one_of("risk_level", ("low", "medium", "high")),
        CheckConstraint("max_position_size_usd >= 0", name="size_not_negative"),
        CheckConstraint("max_concurrent_positions BETWEEN 1 AND 1000", name="positions_range"),
        CheckConstraint("max_daily_loss_usd > 0", name="loss_positive"),
        CheckConstraint("jsonb_array_length(allowed_pairs) BETWEEN 1 AND 50", name="pairs_range"),
    )

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    risk_level: str = "medium"
    max_position_size_usd: Decimal = amount_field(default=Decimal(500))
    max_concurrent_positions: int = 3
    max_daily_loss_usd: Decimal = amount_field(default=Decimal(200))
    allowed_pairs: list[str] = json_field(factory=lambda: ["BTC-USD", "ETH-USD"])
    paper_trading: bool = True
    strategy_may_close_signals: bool = False
    risk_level_changed_at: datetime | None = timestamp_field(nullable=True)
    paper_trading_changed_at: datetime | None = timestamp_field(nullable=True)
    email_enabled: bool = True
    push_enabled: bool = True
    trade_notifications: bool = True
    daily_summary: bool = True
    weekly_report: bool = True
    advanced: dict[str, Any] = json_field()
    updated_at: datetime = timestamp_field()
