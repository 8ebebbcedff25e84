"""One valid row for every table, made from the catalogue: tables added later are covered too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import Table
from sqlmodel import SQLModel

import models  # noqa: F401 - registers the tables
from models.tenancy import USER_SETTING

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)

# What a generic value would not satisfy. None of these says whose row it is.
SPECIAL: Mapping[str, Mapping[str, Any]] = {
    "api_call_counts": {"shard": 0, "calls": 1},
    "call_windows": {"second": 1, "counts": [0]},
    "door_windows": {"second": 1, "counts": [0]},
    "alerts": {"action": "buy", "side": None, "state": "processing", "duplicate_of": None},
    "accounts": {"mode": "live", "realm": "simulated"},
    "connections": {"realm": "simulated", "status": "connected"},
    "audit_log": {"sequence": None, "previous_hash": None, "hash": None},
    "billing_commands": {"kind": "upgrade", "state": "open"},
    "bot_runs": {
        "mode": "paper",
        "realm": "simulated",
        "risk_level": "medium",
        "state": "entering",
        "number": 1,
    },
    "bots": {"state": "running", "kind": "apex", "current_run_id": None},
    "exit_requests": {"state": "open", "merged_into": None},
    "exports": {"state": "ready", "data_type": "trades", "format": "csv"},
    "fills": {"side": "buy", "liquidity": "taker"},
    "flows": {"kind": "external"},
    "kill_switches": {"scope": "user", "venue": None},
    "mailed_links": {"purpose": "verify_email"},
    "deliveries": {"state": "pending"},
    "messages": {"kind": "notice", "state": "open"},
    "orders": {
        "state": "intended",
        "side": "buy",
        "type": "market",
        "time_in_force": "ioc",
        "leg": "entry",
        "limit_price": None,
        "trigger_id": None,
        "cancel_outcome": None,
    },
    "paper_fills": {"side": "buy", "liquidity": "taker"},
    "paper_balances": {"held": Decimal(0)},
    "market_states": {"status": "open"},
    "paper_orders": {"state": "open", "side": "buy", "type": "market", "time_in_force": "ioc"},
    "positions": {"side": "long", "state": "open", "exit_state": None},
    "stream_events": {"channel": "trades", "kind": "trade"},
    "subscriptions": {
        "status": "active",
        "tier": "pro",
        "interval": "monthly",
        "granted_tier": "pro",
        "scheduled_tier": None,
        "scheduled_interval": None,
    },
    "trade_rollups": {"grain": "day"},
    "triggers": {"state": "armed", "direction": "at_or_below"},
    "user_settings": {"risk_level": "medium", "allowed_pairs": Jsonb(["BTC-USD"])},
    "users": {"status": "active", "role": "user", "subscription_tier": "free"},
}

Row = dict[str, Any]


def tables() -> Sequence[Table]:
    """Every table, referred ones first."""
    return [table for table in SQLModel.metadata.sorted_tables if table.name != "alembic_version"]


def add_user_rows(connection: psycopg.Connection) -> dict[str, Row]:
    """One row in every table that belongs to a user, all of one new user."""
    rows: dict[str, Row] = {}
    user_id = uuid4()
    for table in tables():
        rows[table.name] = row = valid_row(table, user_id, rows)
        insert(connection, table.name, row)
    return rows


def valid_row(table: Table, user_id: UUID, rows: Mapping[str, Row]) -> Row:
    """Values for every column: keys point at the user's own rows."""
    special = SPECIAL.get(table.name, {})
    row: Row = {}
    for column in table.columns:
        if column.name in special:
            row[column.name] = special[column.name]
        elif column.name == "user_id" or (table.name == "users" and column.name == "id"):
            row[column.name] = user_id
        else:
            row[column.name] = _referred(column, rows) or _generic(column)
    return row


def insert(connection: psycopg.Connection, table: str, row: Row) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )


def become(connection: psycopg.Connection, user_id: UUID) -> None:
    """Bind this transaction to a user, as `services.database` does."""
    connection.execute("SELECT set_config(%s, %s, true)", (USER_SETTING, str(user_id)))


def _referred(column: Any, rows: Mapping[str, Row]) -> Any:
    for key in column.foreign_keys:
        target = key.column
        if target.name != "user_id" and target.table.name in rows:
            return rows[target.table.name][target.name]
    return None


def _generic(column: Any) -> Any:
    values: Mapping[str, Any] = {
        "Uuid": uuid4(),
        "DateTime": AT,
        "Date": AT.date(),
        "Numeric": Decimal(1),
        "Integer": 1,
        "BigInteger": uuid4().int % 2**40,
        "Boolean": True,
        "LargeBinary": b"sealed",
        "AutoString": f"{column.name}-{uuid4().hex}",
        "JSONB": Jsonb({}),
    }
    return values[type(column.type).__name__]
