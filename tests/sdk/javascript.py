"""The JavaScript package, installed and built once for all tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.support.up import ROOT

PACKAGE = ROOT / "sdk" / "js"
NODE = ("node", "--experimental-websocket", "--no-warnings")
"""Node has WebSocket from version 22 on; before that it asks for the flag."""

SECONDS = 120


def build() -> None:
    """Install the compiler where it is missing, and compile what has changed."""
    lock = (PACKAGE / "package-lock.json").read_bytes()
    mark = PACKAGE / "node_modules" / ".locked"
    wanted = hashlib.sha256(lock).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        run("npm", "ci", "--ignore-scripts", "--prefer-offline", cwd=PACKAGE)
        mark.write_text(wanted)
    run("node", "build.mjs", cwd=PACKAGE)


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run to the end, which must be a good one; what was printed."""
    done = subprocess.run(  # noqa: S603 - our own commands
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout
