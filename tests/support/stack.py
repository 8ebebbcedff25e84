"""Real servers for tests, as plain context managers that a conftest wraps in fixtures.

    @pytest.fixture(scope="session")
    def postgres_server():
        with postgres_server() as server:
            yield server

The folders are made straight under the temporary folder, not in pytest's `tmp_path`: that one is
closed to the account PostgreSQL runs as when the tests run as root.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabasePasswords
from adapters.embedded.temporal import EmbeddedTemporal

PASSWORDS = DatabasePasswords(
    superuser="superuser-password",
    owner="owner-password",
    app="app-password",
    system="system-password",
)


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
def temporal_server() -> Iterator[EmbeddedTemporal]:
    """A Temporal server on free ports; `await Client.connect(server.address)`."""
    with data_folder() as folder:
        server = EmbeddedTemporal(folder, port=0)
        server.start()
        try:
            yield server
        finally:
            server.stop()
