"""Dumps and loads the embedded database with PostgreSQL's own programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.ports import LOOPBACK
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DATABASE, SUPERUSER
from adapters.embedded.process import clean_environment


def dump(server: EmbeddedPostgres, superuser_password: str, target: Path) -> None:
    """Write a consistent snapshot; the superuser's, whom row-level security does not bind.

    Raises:
        EmbeddedError: pg_dump failed.
    """
    arguments = ["--format=custom", "--compress=0", f"--file={target}", f"--dbname={DATABASE}"]
    _run(server, "pg_dump", superuser_password, arguments)


def load(server: EmbeddedPostgres, superuser_password: str, source: Path) -> None:
    """Load a snapshot into an empty database, all of it or nothing.

    Raises:
        EmbeddedError: pg_restore failed.
    """
    arguments = ["--single-transaction", "--exit-on-error", f"--dbname={DATABASE}", str(source)]
    _run(server, "pg_restore", superuser_password, arguments)


def _run(server: EmbeddedPostgres, program: str, password: str, arguments: list[str]) -> None:
    argv = [server.programs()[program], "--no-password", f"--host={LOOPBACK}"]
    argv += [f"--port={server.port}", f"--username={SUPERUSER}", *arguments]
    result = subprocess.run(  # noqa: S603 - the argv is ours, no shell is involved
        argv,
        # By environment, because everybody on the machine can read an argv.
        env=clean_environment() | {"PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise EmbeddedError(f"{program} failed:\n{result.stderr.strip()}")
