"""A handful of seeds, run as the command runs them, and again: the same trace line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 2
HOURS, BOTS = "0.25", "3"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def _run(*options: str) -> str:
    """What `python -m simulation` prints; a violation makes it fail."""
    ended = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "simulation", "--hours", HOURS, "--bots", BOTS, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def _digests(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^seed (\d+): ok .* ([0-9a-f]{16})$", printed, re.MULTILINE))


def test_no_seed_of_the_handful_breaks_a_promise() -> None:
    digests = _digests(_run("--seed", "101", "--seeds", str(SEEDS), "--processes", "1"))

    assert len(digests) == SEEDS
    assert len(set(digests.values())) == SEEDS


def test_a_seed_run_again_gives_the_same_trace(tmp_path: Path) -> None:
    traces = []
    for run in range(2):
        file = tmp_path / f"trace-{run}"
        _run("--seed", "104", "--trace", str(file))
        traces.append(file.read_bytes())

    assert len(traces[0].splitlines()) > 30
    assert traces[0] == traces[1]
