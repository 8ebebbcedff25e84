"""A file of results: one line a seed, so that a long run goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulation.scenario import Plan, Result


class BadLedger(ValueError):
    """A line of the file is not a result."""


class Ledger:
    """Results of seeds that ended well, with how they were run; a violation is run again.

    Args:
        path: the file; it need not be there yet.
        commit: the code that runs now, written beside each result.
    """

    def __init__(self, path: Path, commit: str) -> None:
        self._path = path
        self._commit = commit

    def left_of(self, plans: Sequence[Plan]) -> tuple[list[Plan], dict[str, float]]:
        """The plans without a result, and the sums of the figures of those with one.

        Raises:
            BadLedger: a line cannot be read.
        """
        figures = {
            (line["seed"], line["hours"], line["bots"]): line["figures"] for line in self._lines()
        }
        wanted = {plan: figures.get((plan.seed, plan.hours, plan.bots)) for plan in plans}
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
            "seed": plan.seed,
            "hours": plan.hours,
            "bots": plan.bots,
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
                line["seed"], line["hours"], line["bots"], line["figures"].items()
        except (ValueError, KeyError, TypeError, AttributeError) as failure:
            raise BadLedger(f"{self._path}: {failure!r}") from failure
        return lines
