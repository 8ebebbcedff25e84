"""Restore of a backup into a data folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from adapters.embedded import secrets
from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres import EmbeddedPostgres
from supervisor import postgres_dump
from supervisor.archive import EXPORTS, MANIFEST, POSTGRES_DUMP, unpack
from supervisor.data_folder import DataFolder
from supervisor.leftovers import stop_leftovers

STAGING = ".restoring"


def restore(
    folder: DataFolder, source: Path, *, force: bool, exports: Path | None = None
) -> dict[str, Any]:
    """Put a backup in place of what the data folder holds, which goes only once all is ready.

    Args:
        folder: the installation's.
        source: the archive.
        force: whether to replace what the data folder holds.
        exports: where the files of exports go; `exports` in the data folder if not given.

    Returns:
        The manifest of the backup.

    Raises:
        EmbeddedError: the stack runs, the folder holds something and `force` is off, or the
            backup is bad.
    """
    folder.make()
    with folder.locked():
        if _contents(folder.root) and not force:
            raise EmbeddedError(
                f"{folder.root} is not empty. Set NIJA_DATA_DIR to another folder, "
                "or replace what it holds with --force."
            )
        stop_leftovers(folder.children_file)
        staging = folder.root / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            manifest = unpack(source, staging)
            _load_database(staging)
            if exports is not None and exports != folder.root / EXPORTS:
                _move_exports(staging / EXPORTS, exports)
            _replace(folder.root, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _contents(root: Path) -> list[Path]:
    """What a restore would replace; the lock and empty folders are nothing."""
    kept = {"lock", STAGING}
    entries = [path for path in root.iterdir() if path.name not in kept]
    return [path for path in entries if not path.is_dir() or any(path.iterdir())]


def _load_database(staging: Path) -> None:
    """Make a whole cluster in the staging folder; a cluster can be moved while it is stopped."""
    dump = staging / POSTGRES_DUMP
    if not dump.exists() or not (staging / secrets.FILE_NAME).exists():
        raise EmbeddedError("The backup lacks its database or its secrets.")
    kept = secrets.load_or_create(staging)
    server = EmbeddedPostgres(staging, 0, kept.database_passwords)
    server.start()
    try:
        postgres_dump.load(server, kept.database_superuser_password, dump)
    finally:
        server.stop()
    dump.unlink()
    (staging / MANIFEST).unlink()
    if (staging / EXPORTS).is_dir():
        (staging / EXPORTS).chmod(0o700)
    shutil.rmtree(staging / "logs", ignore_errors=True)


def _move_exports(files: Path, target: Path) -> None:
    """Put the files of exports beside what is there; the sweeper removes what no row names."""
    if not files.is_dir():
        return
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in files.iterdir():
            shutil.copy2(path, target / path.name)
    except OSError as failed:
        raise EmbeddedError(f"{target} cannot be written: {failed.strerror}.") from failed
    shutil.rmtree(files)


def _replace(root: Path, staging: Path) -> None:
    for path in root.iterdir():
        if path.name not in {"lock", STAGING}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in staging.iterdir():
        path.rename(root / path.name)
    (root / "logs").mkdir(mode=0o700)
