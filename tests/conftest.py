"""For all tests: files that are thrown away are kept in memory, programs end at SIGINT."""

from __future__ import annotations

import os
import signal
import tempfile

from tests.support.memory_disk import memory_disk


def pytest_configure() -> None:
    """Also for the programs that tests start.

    Tests that run in the background have SIGINT ignored, and their programs would inherit that.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and (folder := memory_disk()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
