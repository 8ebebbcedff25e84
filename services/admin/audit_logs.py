"""The audit log as administrators read it."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.ports import WallClock
from domain.principal import Principal
from services.admin.reading import note_reading, rows_of
from services.audit import stored_meta
from services.database import Database

_MATCHING = """
(CAST(:event_type AS text) IS NULL OR event_type = :event_type)
AND (CAST(:user_id AS uuid) IS NULL OR user_id = :user_id)
AND (CAST(:start AS timestamptz) IS NULL OR at >= :start)
AND (CAST(:end AS timestamptz) IS NULL OR at < :end)
"""
_COUNT = text(f"SELECT count(*) AS entries FROM audit_log WHERE {_MATCHING}")
_PAGE = text(f"""
SELECT id, event_type, user_id, actor_id, ip_address, user_agent, meta::text AS meta, at,
       sequence, hash
FROM audit_log WHERE {_MATCHING} ORDER BY at DESC, id DESC LIMIT :limit OFFSET :offset
""")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; times are wall time, `end` is exclusive."""

    event_type: str | None = None
    user_id: UUID | None = None
    start: datetime | None = None
    end: datetime | None = None


class AuditLogs:
    """Reading the log; each reading is an entry of it."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, principal: Principal, wanted: AuditFilter, *, page: int, per_page: int
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """One page of entries, newest first, and how many match."""
        params = asdict(wanted)
        async with self._database.as_system() as session:
            (counted,) = await rows_of(session, _COUNT, **params)
            rows = await rows_of(
                session, _PAGE, **params, limit=per_page, offset=(page - 1) * per_page
            )
            note_reading(
                session,
                principal,
                "audit_logs",
                self._clock.now(),
                event_type=wanted.event_type,
                of_user=str(wanted.user_id) if wanted.user_id else None,
                page=page,
            )
        return [{**row, "meta": stored_meta(row["meta"])} for row in rows], counted["entries"]
