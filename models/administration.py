"""What administrators keep: notes about users, and how the API was used minute by minute."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, text
from sqlmodel import Field, SQLModel

from models.columns import json_field, new_id, timestamp_field


class UserNote(SQLModel, table=True):
    """What an administrator wrote down about a user. Users themselves never see it."""

    __tablename__ = "user_notes"
    __table_args__ = (Index("ix_user_notes_user_time", "user_id", text("created_at DESC")),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),))
    author_id: UUID
    note: str
    created_at: datetime = timestamp_field()


class ApiMinute(SQLModel, table=True):
    """What one API process answered in one minute.

    Each process writes rows of its own, with totals that only grow: writing a minute again changes
    nothing, and the platform's figures are the sums over all processes. A row without requests says
    that the process was there. `microseconds` is the sum of all answering times, `buckets` how many
    took how long (bounds: `services.admin.traffic.BOUNDS_SECONDS`, and one for all longer ones).
    """

    __tablename__ = "api_minutes"
    __table_args__ = (Index("ix_api_minutes_minute", "minute"),)

    process_id: UUID = Field(primary_key=True)
    minute: datetime = timestamp_field(primary_key=True)
    requests: int = 0
    server_errors: int = 0
    microseconds: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    buckets: list[int] = json_field(factory=list)
