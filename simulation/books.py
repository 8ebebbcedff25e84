"""Everything that is in our books at one moment, read with plain SQL and no product code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from simulation.database import SteppedDatabase

Row = Mapping[str, Any]

_BUSY = """
SELECT (SELECT count(*) FROM orders
        WHERE state NOT IN ('filled','cancelled','refused','denied','absent')) AS live_orders,
       (SELECT count(*) FROM positions p WHERE p.state = 'open' AND p.open_quantity > 0
          AND (p.close_requested IS NOT NULL OR EXISTS (
               SELECT FROM triggers t WHERE t.position_id = p.id AND t.state = 'fired')))
           AS due_exits,
       (SELECT count(*) FROM positions WHERE state = 'pending') AS pending_positions,
       (SELECT count(*) FROM alerts
        WHERE state IN ('processing', 'accepted') AND duplicate_of IS NULL) AS open_alerts,
       (SELECT count(*) FROM bots WHERE seen_revision < revision) AS unseen_bots,
       (SELECT count(*) FROM kill_switches WHERE handled_revision < revision) AS untold_switches
"""
_ACCOUNTS = "SELECT * FROM accounts ORDER BY id"
_ORDERS = "SELECT * FROM orders ORDER BY intended_at, id"
_FILLS = "SELECT * FROM fills ORDER BY filled_at, id"
_POSITIONS = "SELECT * FROM positions ORDER BY opened_at, id"
_BALANCES = "SELECT * FROM balances ORDER BY account_id, currency"
_FLOWS = "SELECT * FROM flows ORDER BY account_id, currency, at"
_TRIGGERS = "SELECT * FROM triggers WHERE state IN ('armed', 'fired') ORDER BY id"
_PAPER_ORDERS = "SELECT * FROM paper_orders ORDER BY created_at, id"
_PAPER_FILLS = "SELECT * FROM paper_fills ORDER BY filled_at, id"
_PAPER_BALANCES = "SELECT * FROM paper_balances ORDER BY account_id, currency"


class Books:
    """All rows that money hangs on."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.accounts = rows["accounts"]
        self.orders = rows["orders"]
        self.fills = rows["fills"]
        self.positions = rows["positions"]
        self.balances = rows["balances"]
        self.flows = rows["flows"]
        self.triggers = rows["triggers"]
        self.paper_orders = rows["paper_orders"]
        self.paper_fills = rows["paper_fills"]
        self.paper_balances = rows["paper_balances"]


async def read_books(database: SteppedDatabase) -> Books:
    """Read all of it; nothing moves at a quiet point."""
    queries = {
        "accounts": _ACCOUNTS,
        "orders": _ORDERS,
        "fills": _FILLS,
        "positions": _POSITIONS,
        "balances": _BALANCES,
        "flows": _FLOWS,
        "triggers": _TRIGGERS,
        "paper_orders": _PAPER_ORDERS,
        "paper_fills": _PAPER_FILLS,
        "paper_balances": _PAPER_BALANCES,
    }
    return Books({name: await read(database, query) for name, query in queries.items()})


async def busy(database: SteppedDatabase) -> dict[str, int]:
    """What is still under way, by what it is."""
    (row,) = await read(database, _BUSY)
    return {name: int(count) for name, count in row.items() if count}


async def read(database: SteppedDatabase, query: str, **values: object) -> Sequence[Row]:
    """Rows of one query, of all users."""
    async with database.as_system() as session:
        connection = await session.connection()
        return [dict(row) for row in (await connection.execute(text(query), values)).mappings()]
