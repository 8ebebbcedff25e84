"""Column building blocks shared by all tables."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKeyConstraint, Numeric
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING


_make_id: Callable[[], uuid.UUID] = uuid.uuid4


def new_id() -> uuid.UUID:
    """A random id, for a primary key or as the cause of an order."""
    return _make_id()


@contextmanager
def ids_from(source: Callable[[], uuid.UUID]) -> Iterator[None]:
    """Take every new id from a source of one's own for a while: a run that has to be repeatable."""
    global _make_id  # noqa: PLW0603 - the one place where ids come from
    before, _make_id = _make_id, source
    try:
        yield
    finally:
        _make_id = before


def timestamp_field(
    *, nullable: bool = False, index: bool = False, primary_key: bool = False
) -> Any:
    """A `timestamptz` column; values are aware UTC."""
    column: Column[datetime] = Column(
        DateTime(timezone=True), nullable=nullable, index=index, primary_key=primary_key
    )
    if nullable:
        return Field(default=None, sa_column=column)
    return Field(sa_column=column)


def amount_field(*, nullable: bool = False, default: Decimal | None = None) -> Any:
    """An exact decimal column; currency or unit is part of the field's name or docstring."""
    column: Column[Decimal] = Column(Numeric(), nullable=nullable)
    if nullable:
        return Field(default=None, sa_column=column)
    if default is not None:
        return Field(default=default, sa_column=column)
    return Field(sa_column=column)


def json_field(*, nullable: bool = False, factory: Any = dict) -> Any:
    """A `jsonb` column."""
    column: Column[Any] = Column(JSONB(), nullable=nullable)
    if nullable:
        return Field(default=None, sa_column=column)
    return Field(default_factory=factory, sa_column=column)


def one_of(column: str, values: Iterable[StrEnum | str]) -> CheckConstraint:
    """A CHECK that a text column holds one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def owned_by(column: str, table: str, *, ondelete: str = "CASCADE") -> ForeignKeyConstraint:
    """A foreign key that carries the owner along.

    PostgreSQL's foreign-key checks bypass row-level security, so a plain key could point at
    another user's row.
    """
    return ForeignKeyConstraint(
        ["user_id", column], [f"{table}.user_id", f"{table}.id"], ondelete=ondelete
    )
