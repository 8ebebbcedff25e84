"""What happened in a run, line by line: the end of it to read, all of it as one hash to compare."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator

KEPT_LINES = 400


class Trace:
    """The lines of a run; only the last ones stay in memory unless all are wanted.

    Args:
        now: virtual seconds since the start of the run.
        kept: lines that stay; None keeps every line.
    """

    def __init__(self, now: Callable[[], float], kept: int | None = KEPT_LINES) -> None:
        self._now = now
        self._lines: deque[str] = deque(maxlen=kept)
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, who: str, what: str) -> None:
        """Note one thing that happened."""
        line = f"{self._now():12.6f} {who:<10} {what}"
        self._lines.append(line)
        self._hash.update(line.encode() + b"\n")
        self.count += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    @property
    def digest(self) -> str:
        """The hash of all lines so far."""
        return self._hash.hexdigest()
