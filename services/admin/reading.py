"""Reading across users: rows of a statement, and the audit entry that says who looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.principal import Principal
from services import audit
from services.audit import AuditEvent


async def rows_of(
    session: AsyncSession, statement: TextClause, **params: object
) -> Sequence[Mapping[str, Any]]:
    """The rows of a statement by name."""
    connection = await session.connection()
    return [dict(row) for row in (await connection.execute(statement, params)).mappings()]


def note_reading(
    session: AsyncSession,
    principal: Principal,
    what: str,
    now: datetime,
    *,
    about: UUID | None = None,
    **how: object,
) -> None:
    """Record that an administrator looked at people's data."""
    audit.record(
        session,
        AuditEvent.ADMIN_READ,
        user_id=about or principal.user_id,
        actor_id=principal.user_id,
        at=now,
        meta={"what": what, **{name: value for name, value in how.items() if value is not None}},
    )
