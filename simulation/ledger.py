"""A file of results: one line a seed, so that a long run goes on where it was interrupted.

A result counts for the code it was made with: `fingerprint` names that code, so results of other
code stay in the file and their seeds are run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulation.scenario import Plan, Result

ROOT = Path(__file__).parents[1]
CODE = (
    "activities",
    "adapters",
    "domain",
    "migrations",
    "models",
    "services",
    "simulation",
    "simulator",
    "workflows",
)
"""The packages that a seed runs, and those that could change what it runs."""

SHAPE = ("seed", "hours", "bots", "quiet_minutes")
"""What of a plan makes its result."""


def fingerprint(root: Path = ROOT) -> str:
    """Name the code that a seed runs: a digest of the packages' source files and their paths."""
    digest = hashlib.sha256()
    for package in CODE:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


class BadLedger(ValueError):
    """A line of the file is not a result."""


class Ledger:
    """Results of seeds that ended well, with how they were run; a violation is run again.

    Args:
        path: the file; it need not be there yet.
        code: the `fingerprint` of the code that runs now.
        commit: the same as git names it, written beside each result for people.
    """

    def __init__(self, path: Path, code: str, commit: str) -> None:
        self._path = path
        self._code = code
        self._commit = commit

    def left_of(self, plans: Sequence[Plan]) -> tuple[list[Plan], dict[str, float]]:
        """The plans without a result of this code, and the sums of the figures of those with one.

        Raises:
            BadLedger: a line cannot be read.
        """
        figures = {
            tuple(line[name] for name in SHAPE): line["figures"]
            for line in self._lines()
            if line.get("code") == self._code
        }
        wanted = {plan: figures.get(tuple(getattr(plan, name) for name in SHAPE)) for plan in plans}
        sums: dict[str, float] = {}
        for found in wanted.values():
            for name, figure in (found or {}).items():
                sums[name] = sums.get(name, 0) + figure
        return [plan for plan, found in wanted.items() if found is None], sums

    def add(self, plan: Plan, result: Result) -> None:
        """Keep a result, unless it is a violation."""
        if result.violation is not None:
            return
        line = {
            **{name: getattr(plan, name) for name in SHAPE},
            "code": self._code,
            "commit": self._commit,
            "digest": result.digest,
            "figures": {name: round(figure, 3) for name, figure in result.figures.items()},
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        try:
            lines = [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]
            for line in lines:
                _ = [line[name] for name in SHAPE], line["figures"].items()
        except (ValueError, KeyError, TypeError, AttributeError) as failure:
            raise BadLedger(f"{self._path}: {failure!r}") from failure
        return lines
