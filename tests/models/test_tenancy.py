"""Walks every table: whose rows it holds, who sees them, and what a stranger can do to them."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import ForeignKeyConstraint, Table

from adapters.embedded.postgres_roles import DatabaseUrls
from models.tenancy import (
    APPEND_ONLY,
    SHARED_TABLES,
    SPECIAL_POLICIES,
    USER_TABLES,
)
from tests.support.rows import Row, add_user_rows, become, insert, tables, valid_row

pytestmark = pytest.mark.integration

OWNED = [table for table in tables() if table.name in USER_TABLES]
REFERRING = [
    (table, constraint)
    for table in OWNED
    for constraint in sorted(table.constraints, key=lambda constraint: str(constraint.name))
    if isinstance(constraint, ForeignKeyConstraint)
    and constraint.elements[0].column.table.name in {*USER_TABLES, "users"}
]


@pytest.fixture(scope="module")
def two_users(urls: DatabaseUrls) -> tuple[dict[str, Row], dict[str, Row]]:
    """Rows of users A and B in every table; committed, for another connection to look for.

    They serve all tests: what a test does to them is rolled back.
    """
    with psycopg.connect(urls.system) as system:
        return add_user_rows(system), add_user_rows(system)


def _id(table: Table) -> str:
    return table.name


def _user(rows: dict[str, Row]) -> UUID:
    user_id: UUID = rows["users"]["id"]
    return user_id


def test_every_table_is_in_exactly_one_list() -> None:
    listed = [*USER_TABLES, *SHARED_TABLES, *SPECIAL_POLICIES]

    assert sorted(listed) == sorted(table.name for table in tables())


def test_the_database_has_these_tables_and_no_others(owner: psycopg.Connection) -> None:
    found = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()

    assert {name for (name,) in found} == {table.name for table in tables()} | {"alembic_version"}


def test_there_is_no_view_that_would_run_with_its_owners_rights(owner: psycopg.Connection) -> None:
    views = owner.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm')"
        " AND relnamespace = 'public'::regnamespace"
        " AND NOT coalesce(reloptions @> '{security_invoker=true}', false)"
    ).fetchall()

    assert views == []


def test_row_security_is_on_where_rows_belong_to_users(owner: psycopg.Connection) -> None:
    found = owner.execute(
        "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind = 'r'"
    ).fetchall()

    assert {name for (name,) in found} == {*USER_TABLES, *SPECIAL_POLICIES}


def test_the_app_role_cannot_get_round_the_policies(owner: psycopg.Connection) -> None:
    row = owner.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
        " WHERE rolname = 'nija_app'"
    ).fetchone()
    tables_owned = owner.execute(
        "SELECT count(*) FROM pg_class WHERE relowner = 'nija_app'::regrole"
    ).fetchone()

    assert row == (False, False, False, False)
    assert tables_owned == (0,)


@pytest.mark.parametrize("table", OWNED, ids=_id)
def test_a_stranger_sees_no_row(
    table: Table, two_users: tuple[dict[str, Row], dict[str, Row]], app: psycopg.Connection
) -> None:
    a, b = two_users
    become(app, b["users"]["id"])

    found = app.execute(
        sql.SQL("SELECT user_id FROM {}").format(sql.Identifier(table.name))
    ).fetchall()

    assert {user_id for (user_id,) in found} == {b["users"]["id"]}
    assert a["users"]["id"] != b["users"]["id"]


@pytest.mark.parametrize("table", OWNED, ids=_id)
@pytest.mark.usefixtures("two_users")
def test_without_a_user_nothing_is_seen(table: Table, app: psycopg.Connection) -> None:
    found = app.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
    ).fetchone()

    assert found == (0,)


@pytest.mark.parametrize("table", OWNED, ids=_id)
@pytest.mark.parametrize("command", ["UPDATE {} SET user_id = user_id", "DELETE FROM {}"])
def test_a_stranger_changes_no_row(
    table: Table,
    command: LiteralString,
    two_users: tuple[dict[str, Row], dict[str, Row]],
    app: psycopg.Connection,
) -> None:
    a, b = two_users
    become(app, b["users"]["id"])
    statement = sql.SQL(command + " WHERE user_id = %s").format(sql.Identifier(table.name))
    if table.name in APPEND_ONLY:
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute(statement, (a["users"]["id"],))
        return

    changed = app.execute(statement, (a["users"]["id"],))

    assert changed.rowcount == 0


@pytest.mark.parametrize("table", OWNED, ids=_id)
def test_a_stranger_cannot_write_a_row_in_somebody_elses_name(
    table: Table, two_users: tuple[dict[str, Row], dict[str, Row]], app: psycopg.Connection
) -> None:
    a, b = two_users
    forged = valid_row(table, a["users"]["id"], a)
    become(app, b["users"]["id"])

    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
        insert(app, table.name, forged)


@pytest.mark.parametrize(
    ("table", "constraint"),
    [
        (table, key)
        for table, key in REFERRING
        # A key that is nothing but the user points at nobody else.
        if key.elements[0].column.table.name != "users" and key.column_keys != ["user_id"]
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "-".join(value.column_keys),
)
def test_a_row_cannot_point_at_another_users_row(
    table: Table,
    constraint: ForeignKeyConstraint,
    two_users: tuple[dict[str, Row], dict[str, Row]],
    owner: psycopg.Connection,
) -> None:
    """Foreign-key checks bypass row-level security, so the key itself must carry the user."""
    a, b = two_users
    name, target = sql.Identifier(table.name), constraint.elements[0].column.table.name
    (pointing,) = [column for column in constraint.column_keys if column != "user_id"]
    # The rows of A in between would collide before the key is looked at.
    if table.name not in {"bots", target}:
        owner.execute(sql.SQL("DELETE FROM {} WHERE user_id = %s").format(name), (_user(a),))
    row_id = a[target]["id"]
    is_there = owner.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE id = %s").format(sql.Identifier(target)), (row_id,)
    ).fetchone()
    assert is_there == (1,)

    with pytest.raises(errors.ForeignKeyViolation):
        owner.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE user_id = %s").format(
                name, sql.Identifier(pointing)
            ),
            (row_id, _user(b)),
        )


@pytest.mark.parametrize(
    ("table", "constraint"),
    REFERRING,
    ids=lambda value: value.name if isinstance(value, Table) else "-".join(value.column_keys),
)
def test_every_key_between_user_tables_carries_the_user(
    table: Table, constraint: ForeignKeyConstraint
) -> None:
    assert "user_id" in constraint.column_keys, table.name


@pytest.mark.parametrize("name", SHARED_TABLES)
@pytest.mark.parametrize("command", ["DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"])
def test_market_facts_are_read_only_for_users(
    name: str, command: LiteralString, app: psycopg.Connection
) -> None:
    app.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))

    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(sql.SQL(command).format(sql.Identifier(name)))


def test_a_user_sees_and_changes_only_the_own_user_row(
    two_users: tuple[dict[str, Row], dict[str, Row]], app: psycopg.Connection
) -> None:
    _a, b = two_users
    become(app, b["users"]["id"])

    seen = app.execute("SELECT id FROM users").fetchall()
    changed = app.execute("UPDATE users SET full_name = 'B'")

    assert seen == [(b["users"]["id"],)]
    assert changed.rowcount == 1
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute("DELETE FROM users")


def test_a_user_sees_the_switches_that_stop_them_and_releases_only_the_own(
    two_users: tuple[dict[str, Row], dict[str, Row]],
    system: psycopg.Connection,
    app: psycopg.Connection,
) -> None:
    a, b = two_users
    system.execute(
        "INSERT INTO kill_switches (id, scope, reason, engaged_at)"
        " VALUES (%s, 'global', 'test', now())",
        (uuid4(),),
    )
    system.commit()
    become(app, b["users"]["id"])

    seen = app.execute("SELECT user_id FROM kill_switches").fetchall()
    released = app.execute("UPDATE kill_switches SET released_at = now() WHERE scope = 'user'")
    of_all = app.execute("UPDATE kill_switches SET released_at = now() WHERE scope = 'global'")
    app.rollback()
    system.execute("DELETE FROM kill_switches WHERE scope = 'global'")
    system.commit()

    assert {user_id for (user_id,) in seen} == {None, b["users"]["id"]}
    assert a["users"]["id"] not in {user_id for (user_id,) in seen}
    assert released.rowcount == 1
    assert of_all.rowcount == 0


def test_the_audit_log_can_be_written_and_never_changed(
    two_users: tuple[dict[str, Row], dict[str, Row]],
    system: psycopg.Connection,
    app: psycopg.Connection,
) -> None:
    _a, b = two_users
    become(app, b["users"]["id"])

    seen = app.execute("SELECT user_id FROM audit_log").fetchall()

    assert seen == [(b["users"]["id"],)]
    for connection in (app, system):
        for command in ("UPDATE audit_log SET event_type = 'x'", "DELETE FROM audit_log"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(command)
            connection.rollback()


def test_deleting_a_user_takes_everything_of_theirs_along(
    two_users: tuple[dict[str, Row], dict[str, Row]], owner: psycopg.Connection
) -> None:
    _a, b = two_users
    user_id = b["users"]["id"]

    owner.execute("DELETE FROM users WHERE id = %s", (user_id,))

    left = {
        table.name: owner.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE user_id = %s").format(
                sql.Identifier(table.name)
            ),
            (user_id,),
        ).fetchone()
        for table in OWNED
    }
    assert left == {table.name: (0,) for table in OWNED}
