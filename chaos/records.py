"""One snapshot of all books: the platform's, the exchange's, the paper ledger's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from bench.population import Trader

Row = Mapping[str, Any]
Rows = list[Row]

_TABLES = {
    "orders": "SELECT * FROM orders",
    "fills": "SELECT f.*, o.leg FROM fills f JOIN orders o ON o.id = f.order_id",
    "positions": "SELECT * FROM positions",
    "triggers": "SELECT * FROM triggers",
    "balances": "SELECT * FROM balances",
    "flows": "SELECT * FROM flows",
    "paper_orders": "SELECT * FROM paper_orders",
    "paper_fills": "SELECT * FROM paper_fills",
    "paper_balances": "SELECT * FROM paper_balances",
    "alerts": "SELECT * FROM alerts",
    "decisions": "SELECT id, account_id, d.run_id, cause, action, reason FROM decisions d"
    " JOIN LATERAL (SELECT account_id FROM bot_runs r WHERE r.id = d.run_id) r ON true"
    " WHERE cause LIKE 'signal:%'",
}


@dataclass(frozen=True)
class Account:
    """An account as both sides know it.

    Attributes:
        venue: what the exchange's dump says of a live account; None for paper.
    """

    id: UUID
    user_id: UUID
    currency: str
    venue: Row | None

    @property
    def is_live(self) -> bool:
        """Whether it is at the exchange."""
        return self.venue is not None


class Records:
    """All rows, by account.

    Attributes:
        accounts: those that bots trade.
        tables: everything, by name.
    """

    def __init__(self, accounts: list[Account], tables: Mapping[str, Rows]) -> None:
        self.accounts = accounts
        self.tables = tables
        self._by_account: dict[str, dict[UUID, Rows]] = {}

    def all(self, table: str) -> Rows:
        """Every row of a table."""
        return self.tables[table]

    def of(self, account: Account, table: str) -> Rows:
        """The rows of an account."""
        if table not in self._by_account:
            grouped: dict[UUID, Rows] = defaultdict(list)
            for row in self.tables[table]:
                grouped[row["account_id"]].append(row)
            self._by_account[table] = grouped
        return self._by_account[table].get(account.id, [])


async def read_records(
    system_url: str, traders: tuple[Trader, ...], dump: Mapping[str, Any]
) -> Records:
    """Read everything in one snapshot.

    Args:
        system_url: the database.
        traders: whose books.
        dump: the exchange's own books, read after everything had settled.
    """
    venues = {account["api_key"]: account for account in dump["accounts"]}
    async with await psycopg.AsyncConnection.connect(
        system_url, autocommit=True, row_factory=dict_row
    ) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        tables: dict[str, Rows] = {}
        for name, statement in _TABLES.items():
            tables[name] = [*await (await connection.execute(statement.encode())).fetchall()]
        rows = await (await connection.execute("SELECT * FROM accounts")).fetchall()
        await connection.execute("COMMIT")
    owners = {trader.user_id: trader for trader in traders}
    accounts = [
        Account(
            row["id"],
            row["user_id"],
            row["currency"],
            venues[owners[row["user_id"]].api_key] if row["mode"] == "live" else None,
        )
        for row in rows
        if row["user_id"] in owners
    ]
    return Records(accounts, tables)


def nonzero(totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """What is held."""
    return {currency: total for currency, total in totals.items() if total}
