"""For all tests: files that are thrown away are kept in memory."""

from __future__ import annotations

import os
import tempfile

from tests.support.memory_disk import memory_disk


def pytest_configure() -> None:
    """Also for the programs that tests start."""
    if "TMPDIR" not in os.environ and (folder := memory_disk()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
