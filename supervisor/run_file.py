"""`run.json`: how to reach what runs now, for tools and people on this machine.

It holds passwords, so only its owner may read it; it is replaced, never changed in place, and
removed when the stack stops.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.files import write_private_json


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Everything but the pids, which change when a child is started again."""

    api_url: str
    metrics_url: str
    temporal_ui_url: str | None
    temporal_address: str
    database_url: str = field(repr=False)
    app_database_url: str = field(repr=False)
    system_database_url: str = field(repr=False)
    simulator_url: str | None
    simulator_key: str | None = field(repr=False)
    simulator_secret: str | None = field(repr=False)
    demo_email: str | None
    demo_password: str | None = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)


def write_run_file(path: Path, info: RunInfo, pids: dict[str, int | None]) -> None:
    """Replace the file atomically."""
    write_private_json(path, {**asdict(info), "pids": pids})


def read_run_file(path: Path) -> dict[str, Any]:
    """The file of a running stack.

    Raises:
        EmbeddedError: there is none.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise EmbeddedError(
            f"Nothing runs: there is no {path}. Start it with `nija up`."
        ) from missing
    return found
