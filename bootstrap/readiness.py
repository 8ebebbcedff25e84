"""Whether a worker does its work, on its metrics page.

The page opens with Temporal's runtime, which a process makes first of all: that it answers says
nothing. A worker is ready while Temporal answers and its worker there polls, and while each loop
that one process at a time runs gets on here or belongs to another process. So a worker that stands
by is ready, and one whose Temporal is away is not, though an exits worker does its work without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Protocol

import structlog
from temporalio.runtime import Runtime

from domain.ports import WorkflowService
from services.session_lock import SessionLock

CHECK_SECONDS = 0.5

READY_METRIC = "nija_worker_ready"
PART_METRIC = "nija_worker_part_ready"
CHECKED_METRIC = "nija_worker_checked_seconds"

TEMPORAL = "temporal"

_log = structlog.get_logger("nija.worker")


class Loop(Protocol):
    """A loop that tells how it gets on."""

    @property
    def gets_on(self) -> bool:
        """Whether it went round lately."""
        ...


@dataclass(frozen=True, slots=True)
class SoleLoop:
    """A loop that one process at a time runs, and the lock that says which."""

    lock: SessionLock
    loop: Loop

    @property
    def is_ready(self) -> bool:
        """Whether it gets on here, or another process has the lock."""
        return self.lock.is_answered and (not self.lock.is_held or self.loop.gets_on)


class Readiness:
    """Says whether a worker is ready, by part and in all: 1 or 0, and when that was found out.

    Args:
        runtime: whose metrics page says so; None without one.
        workflows: Temporal.
        loops: by the name of the part.

    Attributes:
        serves: whether Temporal's worker polls.
        parts: what was found last.
    """

    def __init__(
        self, runtime: Runtime | None, workflows: WorkflowService, loops: Mapping[str, SoleLoop]
    ) -> None:
        self._workflows = workflows
        self._loops = loops
        self._gauges = None
        if runtime is not None:
            meter = runtime.metric_meter
            self._gauges = (
                meter.create_gauge(READY_METRIC, "Whether the worker does its work."),
                meter.create_gauge(PART_METRIC, "The same by part."),
                meter.create_gauge_float(CHECKED_METRIC, "Unix time at which that was found."),
            )
        self.serves = False
        self.parts: Mapping[str, bool] = {TEMPORAL: False, **dict.fromkeys(loops, False)}
        self._note(self.parts)

    @property
    def is_ready(self) -> bool:
        """Whether every part was ready at the last look."""
        return all(self.parts.values())

    async def keep(self) -> None:
        """Look again and again until cancelled; a process that ends is not ready."""
        try:
            while True:
                answers = self.serves and await self._workflows.is_available()
                loops = {name: loop.is_ready for name, loop in self._loops.items()}
                self._note({TEMPORAL: answers, **loops})
                await asyncio.sleep(CHECK_SECONDS)
        finally:
            self._note(dict.fromkeys(self.parts, False))

    def _note(self, parts: Mapping[str, bool]) -> None:
        was_ready, self.parts = self.is_ready, parts
        if self.is_ready != was_ready:
            _log.info("worker.ready" if self.is_ready else "worker.not_ready", **parts)
        if self._gauges is None:
            return
        ready, part_ready, checked = self._gauges
        for name, is_ready in parts.items():
            part_ready.set(int(is_ready), {"part": name})
        ready.set(int(self.is_ready))
        checked.set(time())
