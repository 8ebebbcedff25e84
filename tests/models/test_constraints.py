"""What the database itself refuses, whatever the code does; and the migration is the models."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import errors
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from adapters.embedded.postgres_roles import DatabaseUrls
from migrations.run import upgrade
from services.database import driver_url
from tests.support.rows import Row, add_user_rows, insert, tables, valid_row
from tests.support.stack import postgres_server

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {table.name: table for table in tables()}


@pytest.fixture
def rows(system: psycopg.Connection) -> dict[str, Row]:
    """One user's row in every table; gone with the transaction."""
    return add_user_rows(system)


def another(rows: dict[str, Row], table: str, **changes: Any) -> Row:
    """A second row of a table that differs from the first by its ids only."""
    row = valid_row(BY_NAME[table], rows["users"]["id"], rows)
    same = {name: rows[table][name] for name in row if name not in {"id", *changes}}
    return row | same | {"id": uuid4()} | changes


def refused(system: psycopg.Connection, table: str, row: Row, by: str) -> None:
    with pytest.raises(errors.IntegrityError) as failure:
        insert(system, table, row)
    assert failure.value.diag.constraint_name == by


def test_the_migration_makes_exactly_the_models(urls: DatabaseUrls) -> None:
    engine = create_engine(driver_url(urls.owner))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        differences = compare_metadata(context, SQLModel.metadata)
    engine.dispose()

    assert differences == []


def test_migrating_again_changes_nothing(urls: DatabaseUrls) -> None:
    upgrade(urls.owner)
    upgrade(urls.owner)


def test_processes_may_migrate_an_empty_database_at_once() -> None:
    with postgres_server() as empty:
        code = "import sys, migrations.run as m; m.upgrade(sys.argv[1])"
        argv = [sys.executable, "-c", code, empty.urls.owner]
        migrating = [subprocess.Popen(argv, cwd=ROOT) for _ in range(2)]  # noqa: S603

        assert [process.wait(60) for process in migrating] == [0, 0]


def test_a_bot_has_one_run_that_may_enter(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    ended = another(rows, "bot_runs", number=2, state="exit_only")
    insert(system, "bot_runs", ended)

    refused(
        system,
        "bot_runs",
        another(rows, "bot_runs", number=3),
        by="uq_bot_runs_entering",
    )


def test_a_user_has_one_apex_bot(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    refused(system, "bots", another(rows, "bots"), by="uq_bots_apex_user")


def test_a_bar_or_signal_is_decided_once_a_run(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    refused(system, "decisions", another(rows, "decisions"), by="uq_decisions_run_id_cause")


def test_an_intent_is_made_once(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    repeated = another(rows, "orders", client_order_id="x", venue_order_id="x")

    refused(system, "orders", repeated, by="uq_orders_account_id_run_id_cause_leg_attempt")


def test_a_client_order_id_is_used_once_an_account(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    with pytest.raises(errors.UniqueViolation, match="client_order_id"):
        insert(system, "orders", another(rows, "orders", cause="another", venue_order_id="x"))


def test_a_venue_order_is_ours_once(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    with pytest.raises(errors.UniqueViolation, match="venue_order_id"):
        insert(system, "orders", another(rows, "orders", cause="another", client_order_id="x"))


def test_a_fill_is_booked_once_an_account(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    refused(system, "fills", another(rows, "fills"), by="uq_fills_account_id_venue_fill_id")


def test_a_position_has_one_live_exit_but_those_set_aside(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    def exit_order(**changes: Any) -> Row:
        key = uuid4().hex
        return (
            another(rows, "orders", leg="stop", cause=key, client_order_id=key, venue_order_id=key)
            | changes
        )

    aside = datetime(2026, 1, 1, tzinfo=UTC)
    insert(system, "orders", exit_order(state="refused"))
    insert(system, "orders", exit_order(state="open", set_aside_at=aside))
    insert(system, "orders", exit_order(state="open", set_aside_at=aside + timedelta(seconds=1)))
    insert(system, "orders", exit_order(state="sending"))

    refused(system, "orders", exit_order(leg="target_1"), by="uq_orders_live_exit")


def test_a_symbol_has_one_live_position_an_account(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    insert(system, "positions", another(rows, "positions", state="open", came_back=True))
    insert(system, "positions", another(rows, "positions", state="open", came_back=False))

    refused(
        system,
        "positions",
        another(rows, "positions", state="pending", came_back=False),
        by="uq_positions_live_symbol",
    )


def test_a_leg_has_one_live_trigger(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    insert(system, "triggers", another(rows, "triggers", state="done"))

    refused(system, "triggers", another(rows, "triggers", state="fired"), by="uq_triggers_live_leg")


def test_a_live_account_has_keys_and_a_paper_one_none(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    refused(
        system,
        "accounts",
        another(rows, "accounts", mode="paper"),
        by="ck_accounts_live_has_keys",
    )


def test_a_user_has_one_live_connection_a_venue(
    system: psycopg.Connection, rows: dict[str, Row]
) -> None:
    insert(system, "connections", another(rows, "connections", status="removed"))

    refused(
        system,
        "connections",
        another(rows, "connections", status="broken"),
        by="uq_connections_live_venue",
    )


def test_an_email_is_used_once(system: psycopg.Connection, rows: dict[str, Row]) -> None:
    refused(system, "users", another(rows, "users"), by="uq_users_email")


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("orders", {"state": "sent"}),
        ("orders", {"side": "long"}),
        ("orders", {"leg": "hedge"}),
        ("orders", {"quantity": 0}),
        ("orders", {"attempt": 0}),
        ("orders", {"type": "limit", "limit_price": None}),
        ("positions", {"state": "half"}),
        ("positions", {"open_quantity": -1}),
        ("fills", {"price": 0}),
        ("fills", {"quantity": -1}),
        ("triggers", {"direction": "below"}),
        ("triggers", {"price": 0}),
        ("bots", {"state": "sleeping"}),
        ("bot_runs", {"state": "paused"}),
        ("bot_runs", {"mode": "demo"}),
        ("bot_runs", {"risk_level": "yolo"}),
        ("accounts", {"realm": "test"}),
        ("users", {"role": "root"}),
        ("users", {"status": "asleep"}),
        ("paper_balances", {"total": -1}),
        ("paper_balances", {"held": 2}),
        ("balances", {"held": -1}),
        ("flows", {"kind": "gift"}),
        ("user_settings", {"max_concurrent_positions": 0}),
        ("user_settings", {"max_daily_loss_usd": 0}),
        ("kill_switches", {"scope": "galaxy"}),
        ("kill_switches", {"scope": "global"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_value_that_makes_no_sense_is_refused(
    system: psycopg.Connection, rows: dict[str, Row], table: str, changes: Row
) -> None:
    row = valid_row(BY_NAME[table], rows["users"]["id"], rows) | changes

    with pytest.raises(errors.CheckViolation):
        insert(system, table, row)
