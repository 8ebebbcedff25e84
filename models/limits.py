"""Counted calls: how many a user made a day, and the windows that rate limits look at."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, ForeignKey, Integer, SmallInteger
from sqlmodel import Field, SQLModel

_OFTEN_UPDATED = {"fillfactor": "50"}
"""Room for new versions of a row on its own page, so that counting touches no index."""


class ApiCallCount(SQLModel, table=True):
    """Calls of a user on a UTC day of the wall clock; the sum over the shards is the count.

    Each database connection counts in a shard of its own, so that calls of one user never wait for
    each other; the sweeper adds up what is past.
    """

    __tablename__ = "api_call_counts"
    __table_args__ = {"postgresql_with": _OFTEN_UPDATED}

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    day: date = Field(primary_key=True)
    shard: int = Field(sa_column=Column(SmallInteger(), primary_key=True, autoincrement=False))
    calls: int = Field(sa_column=Column(BigInteger(), nullable=False))


class CallWindow(SQLModel, table=True):
    """The calls of a user in the last minute.

    `counts` is a ring of one-second buckets, `second` (unix time) the newest of them. Not logged:
    a crash of the server forgets a minute.
    """

    __tablename__ = "call_windows"
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": _OFTEN_UPDATED}

    user_id: UUID = Field(
        primary_key=True, sa_column_args=(ForeignKey("users.id", ondelete="CASCADE"),)
    )
    second: int = Field(sa_column=Column(BigInteger(), nullable=False))
    counts: list[int] = Field(sa_column=Column(ARRAY(Integer()), nullable=False))


class DoorWindow(SQLModel, table=True):
    """The calls of somebody without a token in the last minute: `subject` is a network address.

    Reached through the function `enter_door` only, because it belongs to no user.
    """

    __tablename__ = "door_windows"
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": _OFTEN_UPDATED}

    door: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    second: int = Field(sa_column=Column(BigInteger(), nullable=False))
    counts: list[int] = Field(sa_column=Column(ARRAY(Integer()), nullable=False))
