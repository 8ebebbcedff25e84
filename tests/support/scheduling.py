"""How tests are shared out to processes: by file, so that what a file's tests share is made once.

Those of the engine share nothing but a database that each process has, and some take as long as a
whole file of others. They are given out one by one, after all files: so all processes end together.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

ONE_BY_ONE = "tests/services/engine/"


def is_single(nodeid: str) -> bool:
    """Whether a test is given out by itself."""
    return nodeid.startswith(ONE_BY_ONE)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # untyped there
    """Files, then single tests; needs `--no-loadscope-reorder`."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = nodeid if is_single(nodeid) else super()._split_scope(nodeid)
        return scope
