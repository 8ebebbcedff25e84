"""Our own command line, called as an operator calls it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 120


def nija(*arguments: str, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run `nija` with these arguments, in an environment of nothing else; it may fail."""
    return subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", **env},
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


async def nija_said(*arguments: str, typed: str = "", **env: str) -> tuple[int, str]:
    """The same while the event loop goes on: the exit code, and everything it said."""
    done = await asyncio.to_thread(nija, *arguments, typed=typed, **env)
    return done.returncode, done.stdout + done.stderr
