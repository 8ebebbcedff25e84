"""Alerts that ask for an exit that another alert asks for already.

Such an alert asks for nothing new. It is joined to the one that asks: it has that one's outcome,
and nobody follows it. So what alerts cost for as long as an exit cannot get through is bounded by
the number of positions, not by that of alerts.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

_FOLLOWED = """
SELECT a.id FROM alerts a
WHERE a.user_id = :user_id AND a.state = 'accepted' AND a.duplicate_of IS NULL
"""
_OF_ALL = text(f"""
{_FOLLOWED} AND a.trade_id = :id AND a.id <> :id AND NOT EXISTS (
    SELECT FROM exit_requests r WHERE r.position_id = :id AND r.cause = 'signal:' || a.id)
ORDER BY a.decided_at, a.id LIMIT 1
""")
_OF_PART = text(f"""
{_FOLLOWED} AND EXISTS (
    SELECT FROM exit_requests r
    WHERE r.position_id = :position_id AND r.cause = 'signal:' || a.id
      AND (r.id = :id OR r.merged_into = :id))
ORDER BY a.decided_at, a.id LIMIT 1
""")


class AskingAlerts:
    """Which alerts ask for exits, within one transaction that decides on alerts of a user.

    The positions concerned are locked, so none of their exits ends meanwhile.
    """

    def __init__(self, session: AsyncSession, user_id: UUID) -> None:
        self._session = session
        self._user_id = user_id
        # By position or request: those of this transaction, whose rows are written at its end.
        self._known: dict[UUID, UUID] = {}

    def note(self, alert_id: UUID, asks_for: Iterable[UUID]) -> None:
        """Note an alert that is followed, and the positions and requests that it asks for."""
        for it in asks_for:
            self._known.setdefault(it, alert_id)

    async def of_all(self, position_id: UUID) -> UUID | None:
        """The alert that asks for all of a position and is followed, if there is one."""
        return self._known.get(position_id) or await self._find(_OF_ALL, id=position_id)

    async def of_part(self, position_id: UUID, request_id: UUID) -> UUID | None:
        """The alert that asks for what an open request sells and is followed, if there is one."""
        known = self._known.get(request_id)
        return known or await self._find(_OF_PART, id=request_id, position_id=position_id)

    async def _find(self, statement: TextClause, **values: UUID) -> UUID | None:
        connection = await self._session.connection()
        found = await connection.execute(statement, {"user_id": self._user_id, **values})
        alert_id: UUID | None = found.scalar()
        return alert_id
