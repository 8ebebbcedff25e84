import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres import EmbeddedPostgres
from tests.support.stack import PASSWORDS, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with postgres_server() as running:
        yield running


def test_the_roles_have_no_more_power_than_they_need(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.urls.system) as connection:
        found = connection.execute(
            "SELECT rolname, rolbypassrls,"
            " rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication"
            " FROM pg_roles WHERE rolname LIKE 'nija%' ORDER BY rolname"
        ).fetchall()
    assert found == [
        ("nija_app", False, False),
        ("nija_owner", False, False),
        ("nija_system", True, False),
    ]


def test_only_the_owner_makes_tables(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.urls.owner) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('kept')")
    for url in (server.urls.app, server.urls.system):
        with (
            psycopg.connect(url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE TABLE mine (word text)")


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.urls.app.replace(PASSWORDS.app, "wrong"))


def test_the_socket_asks_for_the_password_too(server: EmbeddedPostgres) -> None:
    url = server.local_urls.app
    assert "host=/" in url.replace("%2F", "/")
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT current_user, inet_server_addr()").fetchone()
    assert found == ("nija_app", None)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(PASSWORDS.app, "wrong"))


def test_a_folder_too_deep_for_a_socket_has_none(tmp_path: Path) -> None:
    deep = EmbeddedPostgres(tmp_path / ("deep" * 30), 5432, PASSWORDS)
    assert deep.local_urls == deep.urls
    assert ("-k", "") in pairwise(deep.command().argv)


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_commits_are_durable(server: EmbeddedPostgres, setting: str) -> None:
    with psycopg.connect(server.urls.app) as connection:
        assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_it_survives_a_kill(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.urls.owner) as connection:
        connection.execute("CREATE TABLE survivors (word text)")
        connection.execute("INSERT INTO survivors VALUES ('committed')")
    port, pid = server.port, server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    # As after a kill of the supervisor: the pid file stays, the pid is a zombie nobody reaps.
    assert (server._cluster / "postmaster.pid").exists()
    again = EmbeddedPostgres(server._data_dir, port, PASSWORDS)
    again.start()
    try:
        with psycopg.connect(again.urls.owner) as connection:
            assert connection.execute("SELECT word FROM survivors").fetchone() == ("committed",)
    finally:
        again.stop()
    server.stop()
    server.start()


def test_a_server_left_running_is_replaced(server: EmbeddedPostgres) -> None:
    again = EmbeddedPostgres(server._data_dir, server.port, PASSWORDS)
    again.start()
    try:
        with psycopg.connect(again.urls.app) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        again.stop()
    server.stop()
    server.start()


def test_files_are_private(server: EmbeddedPostgres) -> None:
    assert (server._folder.stat().st_mode & 0o077) == 0
    assert (server.log.stat().st_mode & 0o077) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
def test_a_closed_folder_in_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=r"cannot pass .* NIJA_DATA_DIR"):
        EmbeddedPostgres(closed / "data", 0, PASSWORDS).start()
