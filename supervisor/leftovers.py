"""The children of a supervisor that was killed: remembered on disk, found again, stopped.

Children live in sessions of their own, so they outlive a killed supervisor and would keep ports
and databases.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.embedded.files import write_private_json
from adapters.embedded.process import ProcessIdentity, stop_leftover


@dataclass(frozen=True, slots=True)
class Remembered:
    """A started child and how it wants to be stopped."""

    name: str
    pid: int
    started: float
    stop_signal: int
    stop_seconds: float

    @property
    def identity(self) -> ProcessIdentity:
        """The process meant, and no later one of the same pid."""
        return ProcessIdentity(self.pid, self.started)


def remember(path: Path, children: list[Remembered]) -> None:
    """Note which processes are ours, in the order they were started."""
    write_private_json(path, {"children": [asdict(child) for child in children]})


def stop_leftovers(path: Path) -> list[str]:
    """Stop what an earlier supervisor left running, last started first.

    Returns:
        The names of those that were still running.
    """
    stopped = []
    for child in reversed(_read(path)):
        if child.identity.is_running():
            stop_leftover(child.identity, signal.Signals(child.stop_signal), child.stop_seconds)
            stopped.append(child.name)
    path.unlink(missing_ok=True)
    return stopped


def _read(path: Path) -> list[Remembered]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["children"]
        return [Remembered(**entry) for entry in entries]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Written atomically, so an unreadable file is not ours; ports tell what still runs.
        return []
