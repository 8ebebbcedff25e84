"""Private files that are either the old or the new version, never half of one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRIVATE_FILE_MODE = 0o600


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically; only its owner may read it (mkstemp makes files 0600)."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_private_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file atomically, readable by its owner only."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable: a secret that vanishes with the power is a lost vault."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
