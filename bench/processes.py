"""What each process of a stack costs: CPU time, and memory at the end.

A measurement on a machine where something else runs too says little: what others used meanwhile is
told with every result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil

_NAMES = ("worker", "exits-worker", "postgres", "temporal", "simulator", "api")


class Processes:
    """Counts from its making on.

    Args:
        pids: of the stack's run.json.
    """

    def __init__(self, pids: Mapping[str, int | None]) -> None:
        self._pids = {name: pid for name in _NAMES if (pid := pids.get(name)) is not None}
        self._began = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()
        self._before = {name: _cpu_seconds(pid) for name, pid in self._pids.items()}

    def used(self) -> dict[str, Any]:
        """CPU as percent of one core and resident memory, children included."""
        seconds = time.monotonic() - self._began
        spent = {name: _cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}
        own = _own_seconds() - self._own
        others = _busy_seconds() - self._busy - own - sum(spent.values())
        return {
            **{
                name: {
                    "cpu_pct_of_a_core": round(spent[name] / seconds * 100, 1),
                    "rss_mb": round(_resident(pid) / 2**20),
                }
                for name, pid in self._pids.items()
            },
            "bench": {"cpu_pct_of_a_core": round(own / seconds * 100, 1)},
            "others": {"cpu_pct_of_a_core": round(max(0.0, others) / seconds * 100, 1)},
        }


def _busy_seconds() -> float:
    """Of all cores, since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _own_seconds() -> float:
    """This process and its children that have ended: the load generator among them."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    """Time of the living processes, and of the parent's children that have ended."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    ended = psutil.Process(pid).cpu_times()
    return total + float(ended.children_user) + float(ended.children_system)


def _resident(pid: int) -> int:
    """Memory of its own; PostgreSQL's shared buffers would count once for every process."""
    total = 0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            total += memory.rss - memory.shared
    return total + int(psutil.Process(pid).memory_info().shared)
