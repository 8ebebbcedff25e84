"""Backup of a whole one-machine installation, running or stopped.

A running stack is copied store by store: first Temporal, then PostgreSQL, then the files of
exports, the simulated exchange last. The order is the point. Restored together, PostgreSQL may know
more than the workflows (whose steps are then found done, not done twice) and the exchange may know
more than PostgreSQL (which reconciliation reads up); never the other way round. An export's row
says ready only once its file is complete, so every file that a row of the dump names is copied
after it; one that ended meanwhile is over in the restored installation too, one that came later is
removed there, because no row names it. Files in a bucket stay in the bucket.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from adapters.embedded import secrets
from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.temporal import FOLDER as TEMPORAL_FOLDER
from supervisor import postgres_dump
from supervisor.archive import EXPORTS, POSTGRES_DUMP, pack
from supervisor.data_folder import DataFolder
from supervisor.run_file import read_run_file
from supervisor.sqlite_copy import copy_sqlite

HALF_WRITTEN = ".part"
SQLITE_HEADER = b"SQLite format 3\0"
NOT_SEARCHED = frozenset({"postgres", "logs", ".restoring", EXPORTS})


def back_up(folder: DataFolder, target: Path, *, exports: Path | None = None) -> None:
    """Write everything the installation keeps into one private archive.

    Args:
        folder: the installation's.
        target: the archive, which does not exist yet.
        exports: where the files of exports lie; `exports` in the data folder if not given.

    Raises:
        EmbeddedError: there is nothing to back up here, or it failed; no archive is left then.
    """
    if not (folder.root / "postgres").exists():
        raise EmbeddedError(
            f"{folder.root} holds no database of ours. (A database at NIJA_DATABASE_URL is yours "
            "to back up.)"
        )
    if target.exists():
        raise EmbeddedError(f"{target} exists already; give another name.")
    kept = secrets.load_or_create(folder.root)
    superuser_password = kept.database_superuser_password
    if not target.resolve().parent.is_dir():
        raise EmbeddedError(f"There is no folder {target.resolve().parent}.")
    # Beside the archive, where there must be room anyway; /tmp may be small.
    with tempfile.TemporaryDirectory(prefix=".nija-", dir=target.resolve().parent) as name:
        staging = Path(name)
        temporal, others = _sqlite_files(folder.root)
        with _reachable_database(folder, kept) as server:
            _copy(folder.root, temporal, staging)
            postgres_dump.dump(server, superuser_password, staging / POSTGRES_DUMP)
            _copy_exports(exports or folder.root / EXPORTS, staging / EXPORTS)
            _copy(folder.root, others, staging)
        shutil.copy2(folder.root / secrets.FILE_NAME, staging)
        pack(staging, target)


@contextmanager
def _reachable_database(folder: DataFolder, kept: secrets.Secrets) -> Iterator[EmbeddedPostgres]:
    """The running stack's database, or one started for the purpose."""
    if folder.in_use():
        port = urlsplit(read_run_file(folder.run_file)["database_url"]).port
        yield EmbeddedPostgres(folder.root, port or 0, kept.database_passwords)
        return
    with folder.locked():
        server = EmbeddedPostgres(folder.root, 0, kept.database_passwords)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _sqlite_files(root: Path) -> tuple[list[Path], list[Path]]:
    """Temporal's SQLite files and all others (the simulator's), known by content, not by name."""
    temporal: list[Path] = []
    others: list[Path] = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if inside.parts[0] not in NOT_SEARCHED and path.is_file() and _is_sqlite(path):
            (temporal if inside.parts[0] == TEMPORAL_FOLDER else others).append(inside)
    return temporal, others


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(SQLITE_HEADER)) == SQLITE_HEADER


def _copy(root: Path, files: Iterable[Path], staging: Path) -> None:
    for inside in files:
        copy = staging / inside
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_sqlite(root / inside, copy)


def _copy_exports(folder: Path, copies: Path) -> None:
    """Copy the complete files; one that is removed meanwhile has come to its end."""
    if not folder.is_dir():
        return
    copies.mkdir(mode=0o700)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix != HALF_WRITTEN:
            with suppress(FileNotFoundError):
                shutil.copy2(path, copies / path.name)
