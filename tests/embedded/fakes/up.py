"""`nija up` with the application's part replaced: the supervisor is real, its programs are not."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console

import settings
from adapters.embedded.errors import EmbeddedError
from supervisor.activity import Activity
from supervisor.hooks import Hooks
from supervisor.people import PersonFields
from supervisor.run import run


def migrate(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        connection.execute("GRANT SELECT, INSERT ON starts TO nija_system")


async def ensure_people(system_database_url: str, people: list[PersonFields]) -> list[bool]:
    assert people
    connection = await psycopg.AsyncConnection.connect(system_database_url)
    async with connection:
        await connection.execute("INSERT INTO starts DEFAULT VALUES")
    return [True for _ in people]


async def activity(system_database_url: str, limit: int) -> Activity:
    assert system_database_url
    assert limit
    event_at = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        "bots": {"running": 1},
        "equity": None,
        "events": [{"id": "1", "at": event_at, "kind": "fill", "text": "bought [all] 0.1 BTC"}],
    }


ROOT = Path(__file__).parents[3]
os.environ["PYTHONSAFEPATH"] = "1"
# `python -m worker` finds the stand-in first; it imports its page from the checkout.
os.environ["PYTHONPATH"] = f"{Path(__file__).parent}{os.pathsep}{ROOT}"
try:
    run(settings.load(), Hooks(migrate, ensure_people, activity), Console(width=200))
except EmbeddedError as failed:
    sys.exit(str(failed))
