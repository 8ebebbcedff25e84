"""What users are told live: one numbered stream of committed events a user.

Rows are made by triggers of the tables they tell about (migration 0007) when the transaction that
changed those commits; nothing else writes them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Identity
from sqlmodel import Field, SQLModel

from models.columns import json_field, one_of, timestamp_field

EVENTS_KEPT = 1_000
"""How many of a user's last events can be had again; the triggers delete what is older."""

NOTIFICATIONS = "nija_events"
"""The channel PostgreSQL notifies on: `e:<user>:<seq>`, `a:<user>` (access changed), `k`."""


class Channel(StrEnum):
    """What a client may subscribe to."""

    POSITIONS = "positions"
    TRADES = "trades"
    ACCOUNT = "account"
    BOT = "bot"


class EventKind(StrEnum):
    """What happened; each has its own facts."""

    POSITION = "position"
    TRADE = "trade"
    BALANCE = "balance"
    BOT = "bot"
    RUN = "run"
    DECISION = "decision"
    KILL_SWITCH = "kill_switch"


class EventStream(SQLModel, table=True):
    """The number of a user's last event. Locked last in a transaction, until it has committed.

    So numbers have no gaps, and their order is the order of the commits.
    """

    __tablename__ = "event_streams"
    __table_args__ = (CheckConstraint("last_seq >= 0", name="counted"),)

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    last_seq: int = Field(default=0, sa_column=Column(BigInteger(), nullable=False))


class StreamEvent(SQLModel, table=True):
    """One committed event; `data` holds its facts under the names of their columns."""

    __tablename__ = "stream_events"
    __table_args__ = (one_of("channel", Channel), one_of("kind", EventKind))

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("event_streams.user_id", ondelete="CASCADE"),)
    )
    seq: int = Field(sa_column=Column(BigInteger(), primary_key=True, autoincrement=False))
    channel: str
    kind: str
    data: dict[str, Any] = json_field()
    created_at: datetime = timestamp_field()


class PendingEvent(SQLModel, table=True):
    """An event of a transaction that is about to commit, not numbered yet; gone when it has.

    Unlogged, for nobody ever sees a row of another transaction. Without a key to the user, which
    would lock that row at the end of every transaction that tells something.
    """

    __tablename__ = "pending_events"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    xact: int = Field(sa_column=Column(BigInteger(), primary_key=True, autoincrement=False))
    id: int = Field(sa_column=Column(BigInteger(), Identity(always=False), primary_key=True))
    user_id: UUID
    channel: str
    kind: str
    data: dict[str, Any] = json_field()
