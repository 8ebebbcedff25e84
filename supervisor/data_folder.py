"""The one folder that holds everything a one-machine installation keeps, used by one supervisor."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.os_account import TRAVERSABLE_MODE


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Where each thing lies.

    Attributes:
        root: absolute, so that a child with another working folder finds the same place.
    """

    root: Path

    @classmethod
    def at(cls, path: Path) -> DataFolder:
        """The folder a setting names."""
        return cls(path.expanduser().resolve())

    @property
    def lock_file(self) -> Path:
        """Held by the running supervisor, a backup of a stopped stack, or a restore."""
        return self.root / "lock"

    @property
    def run_file(self) -> Path:
        """How to reach what runs now."""
        return self.root / "run.json"

    @property
    def children_file(self) -> Path:
        """Which processes belong to the running supervisor."""
        return self.root / "children.json"

    @property
    def logs(self) -> Path:
        """One file a child."""
        return self.root / "logs"

    def log(self, name: str) -> Path:
        """The log of one child."""
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Make the folder, private unless root must let the database's account pass.

        Raises:
            EmbeddedError: it cannot be made or written.
        """
        mode = TRAVERSABLE_MODE if os.geteuid() == 0 else 0o700
        try:
            self.root.mkdir(mode=mode, parents=True, exist_ok=True)
            self.root.chmod(mode)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as failed:
            raise EmbeddedError(
                f"The data folder {self.root} cannot be used ({failed.strerror}). "
                "Set NIJA_DATA_DIR to a folder of yours."
            ) from failed

    def in_use(self) -> bool:
        """Whether some process holds the folder now."""
        if not self.lock_file.exists():
            return False
        try:
            with self.locked():
                return False
        except EmbeddedError:
            return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; the kernel lets go when the process ends, however it ends.

        Raises:
            EmbeddedError: another process holds it.
        """
        # Not inherited by children (close-on-exec), so leftovers of a killed supervisor hold
        # nothing.
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as held:
                holder = os.read(descriptor, 32).decode(errors="replace").strip()
                raise EmbeddedError(
                    f"The data folder {self.root} is in use by another nija (pid {holder}). "
                    "Stop that one, or set NIJA_DATA_DIR to another folder."
                ) from held
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(descriptor)
