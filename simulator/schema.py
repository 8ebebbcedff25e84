"""The tables of the simulator's SQLite file.

Amounts are decimal text, venue times UTC milliseconds, `sequence` the venue's order of events.
"""

from typing import Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS venue (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS accounts (
    account_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    api_key TEXT NOT NULL UNIQUE,
    key_type TEXT NOT NULL,
    verifier TEXT NOT NULL,
    fee_tier TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS balances (
    account_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    total TEXT NOT NULL,
    held TEXT NOT NULL,
    PRIMARY KEY (account_id, currency)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS orders (
    sequence INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    side TEXT NOT NULL,
    type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    base_size TEXT,
    quote_size TEXT,
    limit_price TEXT,
    post_only INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    received_at TEXT NOT NULL,
    configuration TEXT NOT NULL,
    status TEXT NOT NULL,
    hold TEXT NOT NULL,
    filled_size TEXT NOT NULL,
    filled_value TEXT NOT NULL,
    fees TEXT NOT NULL,
    fill_count INTEGER NOT NULL,
    last_fill_ms INTEGER,
    cancel_reason TEXT NOT NULL,
    UNIQUE (account_id, client_order_id)
);
CREATE INDEX IF NOT EXISTS orders_by_account ON orders (account_id, sequence);
CREATE INDEX IF NOT EXISTS orders_open ON orders (sequence) WHERE status = 'OPEN';

CREATE TABLE IF NOT EXISTS fills (
    sequence INTEGER PRIMARY KEY,
    trade_id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    side TEXT NOT NULL,
    price TEXT NOT NULL,
    size TEXT NOT NULL,
    fee TEXT NOT NULL,
    liquidity TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    quote_ms INTEGER NOT NULL,
    from_ladder INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS fills_by_account ON fills (account_id, sequence);
CREATE INDEX IF NOT EXISTS fills_by_order ON fills (order_id);
CREATE INDEX IF NOT EXISTS fills_by_quote ON fills (product_id, quote_ms);

-- Manual actions, under the name that existing files have.
CREATE TABLE IF NOT EXISTS hand_moves (
    move_id INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    order_id TEXT,
    currency TEXT,
    amount TEXT,
    time_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS hand_moves_by_account ON hand_moves (account_id, move_id);

CREATE TABLE IF NOT EXISTS faults (
    fault_id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS order_faults (
    order_id TEXT PRIMARY KEY,
    hits TEXT NOT NULL
) WITHOUT ROWID;
"""
