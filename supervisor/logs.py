"""Bounds the log files that children append to."""

from __future__ import annotations

import shutil
from pathlib import Path

LOG_BYTES_MAX = 10 * 1024 * 1024


def bound(log: Path, limit: int = LOG_BYTES_MAX) -> None:
    """Move a log that grew too large aside, keeping one older file.

    Copied and emptied rather than renamed: the child keeps its open file, which it appends to.
    """
    if log.exists() and log.stat().st_size > limit:
        older = log.with_suffix(".log.1")
        shutil.copyfile(log, older)
        older.chmod(0o600)
        with log.open("r+b") as stream:
            stream.truncate(0)


def bound_all(folder: Path) -> None:
    """Bound every log of a folder."""
    for log in folder.glob("*.log"):
        bound(log)
