"""Telling the holders of positions, once, that their market is suspended, renamed or delisted.

Exits are tried all the same, since a venue's list may be stale; but the position may never be sold,
and whoever holds it is to know, so that it can be written off.
"""

from __future__ import annotations

from sqlalchemy import text

from domain.ports import WallClock
from services.database import Database
from services.isolation import isolated
from services.notices import NoticeKind, tell

_UNTOLD = text(
    """
    SELECT p.id, p.user_id, p.symbol, p.open_quantity, a.venue, a.mode, m.reason
    FROM market_states m
    JOIN accounts a ON a.venue = m.venue AND a.realm = m.realm
    JOIN positions p ON p.user_id = a.user_id AND p.account_id = a.id
        AND p.symbol = m.symbol AND p.state = 'open'
    WHERE m.status = 'halted' AND NOT EXISTS (
        SELECT FROM notices n
        WHERE n.user_id = p.user_id AND n.key = :kind || ':' || replace(p.id::text, '-', '')
    )
    ORDER BY p.id
    LIMIT 500
    """
)


class HaltedMarkets:
    """Leaves a notice for every open position in a halted market that has none yet.

    Args:
        database: the rows.
        clock: wall time, of notices.
    """

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self) -> int:
        """Do one round; how many were told."""
        kind = NoticeKind.MARKET_HALTED
        async with self._database.as_system() as session:
            connection = await session.connection()
            rows = (await connection.execute(_UNTOLD, {"kind": kind.value})).mappings().all()
        for row in rows:
            facts = {
                "position_id": str(row["id"]),
                "symbol": row["symbol"],
                "quantity": format(row["open_quantity"], "f"),
                "venue": row["venue"],
                "mode": row["mode"],
                "reason": row["reason"],
            }
            about, now = row["id"].hex, self._clock.now()
            with isolated("market.halt_not_told", position_id=row["id"]):
                async with self._database.as_system() as session:
                    await tell(session, row["user_id"], kind, about, now=now, facts=facts)
        return len(rows)
