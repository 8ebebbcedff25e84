"""Bring a database to the newest schema, from code (no alembic.ini on disk is needed)."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from services.database import driver_url

TRIES = 400
PAUSE_SECONDS = 3.0
"""Together some 25 minutes: an export reads its tables in one transaction for at most ten."""

_log = structlog.get_logger("nija.migrations")


def configuration(owner_url: str) -> Config:
    """Alembic's configuration for a database, migrating as its owner."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = driver_url(owner_url)
    return config


def upgrade(owner_url: str) -> None:
    """Apply every missing migration; safe to repeat, and from several processes at once.

    A table that is in use is waited for in short tries: the statements of running processes, exits
    among them, queue behind a migration that waits for one. Each migration is a transaction, so a
    try goes on where the one before ended.

    Raises:
        sqlalchemy.exc.OperationalError: the database is away, or a table stayed in use.
    """
    for tried in range(1, TRIES + 1):
        try:
            command.upgrade(configuration(owner_url), "head")
        except OperationalError as failure:
            if tried == TRIES or not isinstance(failure.orig, LockNotAvailable):
                raise
            if tried % 20 == 1:
                _log.warning("migration.table_in_use", tried=tried)
            time.sleep(PAUSE_SECONDS)
        else:
            return
