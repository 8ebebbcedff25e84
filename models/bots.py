"""Bots, their runs, evaluations (shared by all users) and decisions (a bot's own)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.markets import Mode, Realm
from models.columns import json_field, new_id, one_of, owned_by, timestamp_field


class BotState(StrEnum):
    """What /trading/status reports."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    ERROR = "error"
    EMERGENCY_STOPPED = "emergency_stopped"

    @property
    def has_entering_run(self) -> bool:
        """Whether a run that may enter belongs to this state (paused: it may again, later)."""
        return self in {BotState.STARTING, BotState.RUNNING, BotState.PAUSED, BotState.ERROR}


class RunState(StrEnum):
    """`entering` may open positions, `exit_only` only closes them, `ended` is flat and over."""

    ENTERING = "entering"
    EXIT_ONLY = "exit_only"
    ENDED = "ended"


class Bot(SQLModel, table=True):
    """A bot. This row owns its state: commands commit here first and then inform the workflow.

    `revision` grows with every command; the workflow reports the last one it has seen, so the
    sweeper can tell which workflows still disagree with their row.
    """

    __tablename__ = "bots"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        one_of("state", BotState),
        ForeignKeyConstraint(
            ["user_id", "current_run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            use_alter=True,
            name="fk_bots_current_run",
        ),
        Index("uq_bots_apex_user", "user_id", unique=True, postgresql_where=text("kind = 'apex'")),
        Index("ix_bots_unquiet", "state", postgresql_where=text("state <> 'stopped'")),
        Index("ix_bots_unseen", "id", postgresql_where=text("seen_revision < revision")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    kind: str = "apex"
    state: str = BotState.STOPPED
    revision: int = 0
    seen_revision: int = 0
    current_run_id: UUID | None = None
    state_changed_at: datetime = timestamp_field()
    last_scan_at: datetime | None = timestamp_field(nullable=True)
    next_scan_at: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = None
    progressed_at: datetime | None = timestamp_field(nullable=True)
    created_at: datetime = timestamp_field()


class BotRun(SQLModel, table=True):
    """From one start to its end. At most one run of a bot may enter.

    `close_requested` is why all of its positions are to leave, where they are; their causes are
    `close_cause` and their ids. It stays: what comes back of such a run leaves too.

    `last_bars` is the newest bar that was decided on, by symbol; `missed_bars` has the first bar of
    each position that could not be managed on it (`services.trading.scans.MissedBar`).
    """

    __tablename__ = "bot_runs"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("bot_id", "number"),
        owned_by("bot_id", "bots"),
        owned_by("account_id", "accounts"),
        one_of("state", RunState),
        one_of("mode", Mode),
        one_of("realm", Realm),
        one_of("risk_level", ("low", "medium", "high")),
        Index(
            "uq_bot_runs_entering", "bot_id", unique=True, postgresql_where=text("state='entering'")
        ),
        Index("ix_bot_runs_live", "bot_id", postgresql_where=text("state <> 'ended'")),
        Index("ix_bot_runs_account", "account_id"),
        Index(
            "ix_bot_runs_closing",
            "id",
            postgresql_where=text("close_requested IS NOT NULL AND state <> 'ended'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    bot_id: UUID
    account_id: UUID
    number: int
    venue: str
    realm: str
    mode: str
    risk_level: str
    state: str = RunState.ENTERING
    epoch: str
    started_at: datetime = timestamp_field()
    venue_started_at: datetime = timestamp_field()
    ended_at: datetime | None = timestamp_field(nullable=True)
    end_reason: str | None = None
    close_requested: str | None = None
    close_cause: str | None = None
    strategy: str = "APEX_V72"
    config_hash: str
    code_version: str
    last_bars: dict[str, Any] = json_field()
    missed_bars: list[dict[str, str]] = json_field(factory=list)


class Evaluation(SQLModel, table=True):
    """What the strategy made of a bar; stored once for all bots that share it."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("venue", "realm", "epoch", "symbol", "bar_at", "config_hash"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    venue: str
    realm: str
    epoch: str
    symbol: str
    bar_at: datetime = timestamp_field()
    config_hash: str
    strategy: str
    code_version: str
    side: str | None = None
    score: int | None = None
    record: dict[str, Any] = json_field()
    created_at: datetime = timestamp_field()


class Decision(SQLModel, table=True):
    """What a bot did about a bar or an outside signal, gate by gate; one per run and cause."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("run_id", "cause"),
        owned_by("bot_id", "bots"),
        owned_by("run_id", "bot_runs"),
        owned_by("position_id", "positions"),
        Index("ix_decisions_latest", "run_id", "symbol", text("decided_at DESC")),
        Index("ix_decisions_user_time", "user_id", text("decided_at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    bot_id: UUID
    run_id: UUID
    cause: str
    symbol: str
    bar_at: datetime | None = timestamp_field(nullable=True)
    decided_at: datetime = timestamp_field()
    evaluation_id: UUID | None = Field(default=None, foreign_key="evaluations.id")
    action: str
    score: int | None = None
    reason: str
    gates: list[dict[str, Any]] = json_field(factory=list)
    position_id: UUID | None = None
