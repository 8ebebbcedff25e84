"""The latest things that happened on this installation, for the operator's terminal."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

import psycopg
from psycopg.rows import dict_row

# All by the venue's clock. Of a bot's state the wall time is known: it is put that long before the
# moment at which its venue's clock was last seen. Of one moment a decision comes before its order
# and an order before its fills.
_EVENTS = """
SELECT 'd:' || id AS id, decided_at AS at, 1 AS rank, 'decision' AS kind,
       symbol || ' ' || action || ' (' || reason || ')' AS text
  FROM decisions WHERE action <> 'none' AND action <> 'hold'
UNION ALL
SELECT 'o:' || id || ':' || state, coalesce(venue_sent_at, created_at), 2, 'order',
       side || ' ' || trim_scale(quantity) || ' ' || symbol || ' ' || leg || ': ' || state
  FROM orders
UNION ALL
SELECT 'f:' || id, filled_at, 3, 'fill',
       side || ' ' || trim_scale(quantity) || ' ' || symbol || ' @ ' || trim_scale(price)
  FROM fills
UNION ALL
SELECT 'b:' || b.id || ':' || b.state || ':' || b.state_changed_at,
       coalesce(s.clock_at - (s.seen_at - b.state_changed_at), b.state_changed_at),
       0, 'bot', 'bot is ' || b.state
  FROM bots b
  LEFT JOIN bot_runs r ON r.id = b.current_run_id
  LEFT JOIN venue_states s ON s.venue = r.venue AND s.realm = r.realm
ORDER BY at DESC, rank DESC, id LIMIT %(limit)s
"""

_BOTS = "SELECT state, count(*) AS bots FROM bots GROUP BY state"

_EQUITY = """
SELECT sum(equity) AS equity FROM (
    SELECT DISTINCT ON (account_id) equity FROM equity_snapshots ORDER BY account_id, at DESC
) AS latest
"""


class Event(TypedDict):
    """One thing that happened; `id` is stable, so that it is shown once."""

    id: str
    at: datetime
    kind: str
    text: str


class Activity(TypedDict):
    """The installation at a glance; equity is in USD, None where nothing is known yet."""

    bots: dict[str, int]
    equity: Decimal | None
    events: list[Event]


async def recent(system_database_url: str, limit: int) -> Activity:
    """Counts now and at most `limit` of the latest events, oldest first.

    Raises:
        psycopg.Error: the database does not answer.
    """
    async with await psycopg.AsyncConnection.connect(
        system_database_url, row_factory=dict_row, connect_timeout=3
    ) as connection:
        states = await _all(connection, _BOTS, {})
        equity = await _all(connection, _EQUITY, {})
        events = await _all(connection, _EVENTS, {"limit": limit})
    return Activity(
        bots={row["state"]: row["bots"] for row in states},
        equity=equity[0]["equity"] if equity else None,
        events=[
            Event(id=row["id"], at=row["at"], kind=row["kind"], text=row["text"])
            for row in reversed(events)
        ],
    )


async def _all(
    connection: psycopg.AsyncConnection[dict[str, Any]], sql: Any, params: dict[str, Any]
) -> list[dict[str, Any]]:
    return await (await connection.execute(sql, params)).fetchall()
