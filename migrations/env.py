"""Alembic's environment: one connection, one transaction, one migrating process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import NullPool, create_engine, text
from sqlmodel import SQLModel

import models  # noqa: F401 - registers the tables

MIGRATION_LOCK = 0x6E696A61
LOCK_TIMEOUT_MS = 1_000
"""Whoever needs a table waits behind a migration that waits for it: orders for no longer than this.
`migrations.run` tries again."""

# Without a pool the connection closes with the block, also where a migration fails.
engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
with engine.connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    try:
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
