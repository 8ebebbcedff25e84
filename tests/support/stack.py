"""Real servers for tests, as plain context managers that a conftest wraps in fixtures.

    @pytest.fixture(scope="session")
    def temporal():
        with temporal_server() as server:
            yield server

The folders are made straight under the temporary folder, not in pytest's `tmp_path`: that one is
closed to the account PostgreSQL runs as when the tests run as root.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabasePasswords
from adapters.embedded.process import Command
from adapters.embedded.temporal import EmbeddedTemporal
from migrations.run import upgrade

PASSWORDS = DatabasePasswords(
    superuser="superuser-password",
    owner="owner-password",
    app="app-password",
    system="system-password",
)

_CHEAP_SETTINGS = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}
"""Nothing of it outlives the machine, and hundreds of sessions log in with passwords known here."""


class _CheapPostgres(EmbeddedPostgres):
    """One whose commits survive the death of any process, but not of the machine."""

    def command(self) -> Command:
        command = super().command()
        settings = [f"{name}={value}" for name, value in _CHEAP_SETTINGS.items()]
        options = [part for setting in settings for part in ("-c", setting)]
        return replace(command, argv=(*command.argv, *options))


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder that goes away afterwards, reachable for PostgreSQL also when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="nija-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL on a free port; `server.urls.owner`, `.app`, `.system`, `.superuser`."""
    with data_folder() as folder:
        server = EmbeddedPostgres(folder, port=0, passwords=PASSWORDS)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def migrated_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL whose own database has the newest schema: what `fresh_database` copies."""
    with data_folder() as folder:
        server = _CheapPostgres(folder, port=0, passwords=PASSWORDS)
        server.start()
        try:
            upgrade(server.urls.owner)
            yield server
        finally:
            server.stop()


@contextmanager
def temporal_server() -> Iterator[EmbeddedTemporal]:
    """A Temporal server on free ports; `await Client.connect(server.address)`."""
    with data_folder() as folder:
        server = EmbeddedTemporal(folder, port=0)
        server.start()
        try:
            yield server
        finally:
            server.stop()
