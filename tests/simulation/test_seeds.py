"""A handful of seeds, run as the command runs them; one of them again gives the same trace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 3
AGAIN = "102"
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


def test_no_seed_of_the_handful_breaks_a_promise_and_one_run_again_is_the_same(
    tmp_path: Path,
) -> None:
    file = tmp_path / "trace"

    digests = _digests(_run("--seed", "101", "--seeds", str(SEEDS), "--processes", "1"))
    again = _digests(_run("--seed", AGAIN, "--trace", str(file)))

    assert len(digests) == len(set(digests.values())) == SEEDS
    assert again == {AGAIN: digests[AGAIN]}
    assert len(file.read_text("utf-8").splitlines()) > 30
