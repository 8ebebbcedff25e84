"""Where test servers keep their files: in memory, where the machine has room there.

They are thrown away minutes later. On a disk they make hundreds of databases, and taking those away
again can hold every other commit up for seconds: long enough for an entry to be out of date.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108 - folders with names of their own are made in it
BYTES_MIN = 6 * 2**30


def memory_disk() -> Path | None:
    """A folder in memory with room for all servers, whose files may be run; None without one."""
    try:
        free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available // 2)
        if free < BYTES_MIN:
            return None
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            program = Path(folder) / "program"
            program.write_text("#!/bin/sh\n")
            program.chmod(0o700)
            subprocess.run([program], check=True)  # noqa: S603 - our own; it may be forbidden there
    except (OSError, subprocess.CalledProcessError):
        return None
    return MEMORY
