"""A part of a measurement in a process of its own: it shares no interpreter with the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ROOT = Path(__file__).resolve().parents[1]


def run_apart(module: str, task: DataclassInstance) -> dict[str, Any]:
    """Run `python -m module` with the task as JSON on its input; its output is the result.

    Raises:
        CalledProcessError: it failed; what it said of that is on our own error output.
    """
    done = subprocess.run(  # noqa: S603 - a module of ours
        [sys.executable, "-m", module],
        cwd=_ROOT,
        input=json.dumps(asdict(task)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
