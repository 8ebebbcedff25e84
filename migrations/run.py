"""Bring a database to the newest schema, from code (no alembic.ini on disk is needed)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from services.database import driver_url


def configuration(owner_url: str) -> Config:
    """Alembic's configuration for a database, migrating as its owner."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = driver_url(owner_url)
    return config


def upgrade(owner_url: str) -> None:
    """Apply every missing migration; safe to repeat, and from several processes at once."""
    command.upgrade(configuration(owner_url), "head")
