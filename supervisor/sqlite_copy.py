"""Copies of SQLite files as of one moment, also while their owners write."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.embedded.errors import EmbeddedError

BUSY_SECONDS = 1.0
TRIES = 20
WAL_HEADER_BYTES = 32


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database and prove the copy sound.

    Raises:
        EmbeddedError: no sound copy could be made.
    """
    target.touch(mode=0o600)
    try:
        _copy_shared(source, target)
    except sqlite3.OperationalError:
        # The simulated exchange holds its file alone, so that no second one can open it.
        _copy_exclusive(source, target)
    with closing(sqlite3.connect(target)) as copy:
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise EmbeddedError(f"{source} could not be copied: {verdict}")


def _copy_shared(source: Path, target: Path) -> None:
    with (
        closing(
            sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as db,
        closing(sqlite3.connect(target)) as copy,
    ):
        db.execute("PRAGMA schema_version")  # raises if locked, where `backup` would wait for ever
        db.backup(copy)


def _copy_exclusive(source: Path, target: Path) -> None:
    """Copy the file, then its write-ahead log, as a crash at this moment would leave them.

    Whatever a checkpoint moves into the file meanwhile is in the log too, and opening the copy
    replays the log; a half-written last transaction is dropped by its checksum. That holds unless
    the log was begun anew in between, which changes its header: then the copy is made again.
    """
    log, log_copy = (path.with_name(path.name + "-wal") for path in (source, target))
    for _ in range(TRIES):
        header = _header(log)
        shutil.copyfile(source, target)
        shutil.copyfile(log, log_copy)
        if header and header == _header(log):
            with closing(sqlite3.connect(target)) as copy:
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
    raise EmbeddedError(f"{source} is written too fast to be copied; stop the stack first.")


def _header(log: Path) -> bytes:
    with log.open("rb") as stream:
        return stream.read(WAL_HEADER_BYTES)
