"""Exports that users asked for; the files lie in the object store."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.exports import ExportData, ExportFormat, ExportState
from models.columns import json_field, new_id, one_of, owned_by, timestamp_field


class Export(SQLModel, table=True):
    """An export of one account: what was asked for, and what became of it.

    `object_name` is the file's name in the store; `query` what its rows are chosen by. Times are of
    the wall clock. `keep_until` bounds the file's life, links to it expire earlier.
    """

    __tablename__ = "exports"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("account_id", "accounts"),
        one_of("state", ExportState),
        one_of("data_type", ExportData),
        one_of("format", ExportFormat),
        Index("ix_exports_user_created", "user_id", text("created_at DESC")),
        Index("ix_exports_pending", "created_at", postgresql_where=text("state='pending'")),
        Index("ix_exports_kept", "keep_until", postgresql_where=text("state='ready'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    state: str = ExportState.PENDING
    data_type: str
    format: str
    query: dict[str, Any] = json_field()
    object_name: str = Field(unique=True)
    file_name: str
    file_size_bytes: int | None = None
    row_count: int | None = None
    created_at: datetime = timestamp_field()
    finished_at: datetime | None = timestamp_field(nullable=True)
    keep_until: datetime = timestamp_field()
