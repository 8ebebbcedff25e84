"""The SQLite file: every acknowledged change, one transaction a request.

Write-ahead logging without a sync per commit: a killed *process* loses nothing that was committed,
which is the promise made here; a killed machine may lose its last moments. The file is locked for
as long as it is open, so two simulators can never run one market.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from simulator.engine.accounts import Balance
from simulator.engine.engine import Changes
from simulator.engine.values import Fill, Order
from simulator.rows import fill_of, order_of, order_row, text_amounts
from simulator.schema import SCHEMA

_FILL_COLUMNS: Final = (
    "trade_id, order_id, account_id, product_id, side, price, size, fee, liquidity, "
    "sequence, time_ms, quote_ms, from_ladder"
)
_UPSERT_ORDER: Final = """
    INSERT INTO orders (sequence, order_id, account_id, client_order_id, product_id, side, type,
        time_in_force, base_size, quote_size, limit_price, post_only, created_ms, received_at,
        configuration, status, hold, filled_size, filled_value, fees, fill_count, last_fill_ms,
        cancel_reason)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (sequence) DO UPDATE SET
        status = excluded.status, hold = excluded.hold, filled_size = excluded.filled_size,
        filled_value = excluded.filled_value, fees = excluded.fees,
        fill_count = excluded.fill_count, last_fill_ms = excluded.last_fill_ms,
        cancel_reason = excluded.cancel_reason
"""


class DatabaseInUseError(Exception):
    """Another simulator has this file open."""


@dataclass(frozen=True)
class Account:
    """A client of the venue.

    Attributes:
        verifier: What checks its signatures: the shared secret of an HMAC key, the public key
            (PEM) of the others. The venue keeps no private key.
        permissions: Some of `view`, `trade`, `transfer`.
    """

    account_id: str
    name: str
    api_key: str
    key_type: str
    verifier: str
    fee_tier: str
    permissions: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True)
class Filter:
    """Which orders or fills to list, newest first; empty fields do not restrict.

    Attributes:
        start_ms: Earliest creation (orders) or execution (fills), inclusive.
        end_ms: Latest, inclusive.
        before: Only events before this sequence number: the cursor of the next page.
        any_status_ids: Orders that are listed whatever their status.
    """

    account_id: str
    product_ids: Sequence[str] = ()
    order_ids: Sequence[str] = ()
    statuses: Sequence[str] = ()
    sides: Sequence[str] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    before: int | None = None
    limit: int = 100
    any_status_ids: Sequence[str] = ()


@dataclass(frozen=True)
class ManualAction:
    """Something that an account's holder did at the venue, beside any bot.

    Attributes:
        kind: `order`, `cancel`, `deposit` or `withdrawal`.
        order_id: Of an order or a cancellation.
        currency: Of a deposit or a withdrawal, with its amount.
        time_ms: Venue time.
    """

    account_id: str
    kind: str
    order_id: str | None
    currency: str | None
    amount: Decimal | None
    time_ms: int


class Store:
    """The open database."""

    def __init__(self, path: Path, wait_seconds: float = 2.0) -> None:
        """Open the file, waiting that long for a predecessor that is about to stop.

        Raises:
            DatabaseInUseError: It did not stop.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=wait_seconds)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            self._db.close()
            raise DatabaseInUseError(f"{path} is in use by another simulator") from error

    def close(self) -> None:
        """Close the file and free its lock."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def venue(self) -> dict[str, str]:
        """Return what the venue remembers of itself."""
        return {row["key"]: row["value"] for row in self._db.execute("SELECT * FROM venue")}

    def remember(self, values: Mapping[str, object]) -> None:
        """Remember facts about the venue, inside a transaction."""
        self._db.executemany(
            "INSERT INTO venue VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [(key, str(value)) for key, value in values.items()],
        )

    def write(self, changes: Changes) -> None:
        """Write the engine's changes, inside a transaction."""
        self._db.executemany(_UPSERT_ORDER, map(order_row, changes.orders.values()))
        self._db.executemany(
            f"INSERT INTO fills ({_FILL_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            [text_amounts(astuple(fill)) for fill in changes.fills],
        )
        self._db.executemany(
            "INSERT INTO balances VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET total = excluded.total, held = excluded.held",
            [
                (*key, f"{balance.total:f}", f"{balance.held:f}")
                for key, balance in changes.balances.items()
            ],
        )

    def add_account(self, account: Account) -> None:
        """Add a client, inside a transaction."""
        fields = (*astuple(account)[:6], ",".join(account.permissions), account.created_ms)
        self._db.execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", fields)

    def accounts(self) -> list[Account]:
        """Return all clients."""
        rows = self._db.execute("SELECT * FROM accounts ORDER BY created_ms, account_id")
        return [
            Account(**{**row, "permissions": tuple(filter(None, row["permissions"].split(",")))})
            for row in map(dict, rows)
        ]

    def balances(self) -> Iterator[tuple[str, str, Balance]]:
        """Yield (account, currency, balance)."""
        for row in self._db.execute("SELECT * FROM balances"):
            balance = Balance(Decimal(row["total"]), Decimal(row["held"]))
            yield row["account_id"], row["currency"], balance

    def last_sequence(self) -> int:
        """Return the highest sequence number in use, zero at first."""
        row = self._db.execute(
            "SELECT max(coalesce((SELECT max(sequence) FROM orders), 0),"
            " coalesce((SELECT max(sequence) FROM fills), 0)) AS last"
        ).fetchone()
        return int(row["last"])

    def open_orders(self) -> list[Order]:
        """Return the orders that are not done, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM orders WHERE status NOT IN ('FILLED', 'CANCELLED', 'FAILED')"
            " ORDER BY sequence"
        )
        return [order_of(row) for row in rows]

    def find_order(self, account_id: str, order_id: str) -> Order | None:
        """Return an account's order by the venue's id."""
        return self._one_order("account_id = ? AND order_id = ?", (account_id, order_id))

    def find_client_order(self, account_id: str, client_order_id: str) -> Order | None:
        """Return an account's order by the client's id."""
        return self._one_order(
            "account_id = ? AND client_order_id = ?", (account_id, client_order_id)
        )

    def orders(self, filter_: Filter) -> list[Order]:
        """Return orders, newest first."""
        rows = self._select("SELECT * FROM orders", "created_ms", filter_)
        return [order_of(row) for row in rows]

    def fills(self, filter_: Filter) -> list[Fill]:
        """Return fills, newest first."""
        rows = self._select(f"SELECT {_FILL_COLUMNS} FROM fills", "time_ms", filter_)  # noqa: S608
        return [fill_of(row) for row in rows]

    def add_manual_action(self, action: ManualAction) -> None:
        """Add a manual action, inside a transaction."""
        self._db.execute(
            "INSERT INTO hand_moves (account_id, kind, order_id, currency, amount, time_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            text_amounts(astuple(action)),
        )

    def manual_actions(self, account_id: str) -> list[ManualAction]:
        """Return the manual actions of an account, oldest first."""
        rows = self._db.execute(
            "SELECT account_id, kind, order_id, currency, amount, time_ms FROM hand_moves"
            " WHERE account_id = ? ORDER BY move_id",
            (account_id,),
        )
        return [
            ManualAction(**{**row, "amount": row["amount"] and Decimal(row["amount"])})
            for row in map(dict, rows)
        ]

    def fills_before(self, order_id: str, sequence: int) -> int:
        """Return how many fills of an order came before one."""
        row = self._db.execute(
            "SELECT count(*) AS number FROM fills WHERE order_id = ? AND sequence < ?",
            (order_id, sequence),
        ).fetchone()
        return int(row["number"])

    def save_faults(self, changes: Iterable[tuple[str, Mapping[str, Any] | None]]) -> None:
        """Write faults by id, inside a transaction; None deletes one."""
        for fault_id, row in changes:
            if row is None:
                self._db.execute("DELETE FROM faults WHERE fault_id = ?", (fault_id,))
            else:
                self._db.execute(
                    "INSERT INTO faults VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET body = excluded.body",
                    (fault_id, json.dumps(row)),
                )

    def faults(self) -> list[dict[str, Any]]:
        """Return the stored faults."""
        return [json.loads(row["body"]) for row in self._db.execute("SELECT body FROM faults")]

    def save_order_faults(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Write which faults have met which orders, inside a transaction."""
        self._db.executemany(
            "INSERT INTO order_faults VALUES (?, ?) ON CONFLICT DO UPDATE SET hits = excluded.hits",
            [(order_id, json.dumps(hits)) for order_id, hits in rows],
        )

    def order_faults(self) -> dict[str, Any]:
        """Return which faults have met which orders."""
        return {
            row["order_id"]: json.loads(row["hits"])
            for row in self._db.execute("SELECT * FROM order_faults ORDER BY order_id")
        }

    def orders_in_quote(self, order_ids: Collection[str]) -> set[str]:
        """Return which of these orders were sized in quote currency."""
        marks = ", ".join("?" * len(order_ids))
        rows = self._db.execute(
            f"SELECT order_id FROM orders WHERE order_id IN ({marks})"  # noqa: S608
            " AND quote_size IS NOT NULL",
            tuple(order_ids),
        )
        return {row["order_id"] for row in rows}

    def fees_and_volume(self, account_id: str, since_ms: int) -> tuple[float, float]:
        """Return fees paid and value traded since an instant, roughly, in quote currency."""
        row = self._db.execute(
            "SELECT total(fee) AS fees, total(price * size) AS volume"
            " FROM fills WHERE account_id = ? AND time_ms >= ?",
            (account_id, since_ms),
        ).fetchone()
        return row["fees"], row["volume"]

    def ladder_fills(self, product_id: str, quote_ms: int) -> list[Fill]:
        """Return what takers have consumed of the ladder quoted at an instant."""
        rows = self._db.execute(
            f"SELECT {_FILL_COLUMNS} FROM fills WHERE product_id = ? AND quote_ms = ?"  # noqa: S608
            " AND liquidity = 'TAKER' AND from_ladder",
            (product_id, quote_ms),
        )
        return [fill_of(row) for row in rows]

    def _one_order(self, condition: str, values: tuple[str, str]) -> Order | None:
        query = f"SELECT * FROM orders WHERE {condition}"  # noqa: S608 (constants above)
        row = self._db.execute(query, values).fetchone()
        return order_of(row) if row else None

    def _select(self, select: str, time_column: str, filter_: Filter) -> Iterable[sqlite3.Row]:
        conditions, values = ["account_id = ?"], [filter_.account_id]
        bounds: list[Any] = []
        for column, chosen in (
            ("product_id", filter_.product_ids),
            ("order_id", filter_.order_ids),
            ("side", filter_.sides),
        ):
            if chosen:
                conditions.append(f"{column} IN ({', '.join('?' * len(chosen))})")
                values += chosen
        if filter_.statuses:
            marks = ", ".join("?" * len(filter_.statuses))
            others = ", ".join("?" * len(filter_.any_status_ids))
            conditions.append(f"(status IN ({marks}) OR order_id IN ({others}))")
            values += [*filter_.statuses, *filter_.any_status_ids]
        for condition, bound in (
            (f"{time_column} >= ?", filter_.start_ms),
            (f"{time_column} <= ?", filter_.end_ms),
            ("sequence < ?", filter_.before),
        ):
            if bound is not None:
                conditions.append(condition)
                bounds.append(bound)
        where = " AND ".join(conditions)
        query = f"{select} WHERE {where} ORDER BY sequence DESC LIMIT ?"
        return self._db.execute(query, (*values, *bounds, filter_.limit))
