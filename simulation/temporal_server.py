"""Whether Temporal answers, and what its silence does to activities."""

from __future__ import annotations

import asyncio
from typing import Any

HEARTBEATS_LOST_SECONDS = 7.0
"""How long after the last answer the SDK cancels the activities whose heartbeats it cannot pass on
(measured with the embedded server: five to eight seconds)."""


class TemporalServer:
    """Up or down; while it is down nothing is handed out, taken back or woken by a timer."""

    def __init__(self) -> None:
        self._up = asyncio.Event()
        self._up.set()
        self._outage = 0
        self._with_heartbeats: dict[asyncio.Task[Any], None] = {}

    @property
    def is_down(self) -> bool:
        """Whether it is down at present."""
        return not self._up.is_set()

    def go_down(self, seconds: float) -> None:
        """Answer nobody for a while; one outage more ends when the last one does."""
        self._up.clear()
        self._outage += 1
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self._end, self._outage)
        loop.call_later(HEARTBEATS_LOST_SECONDS, self._lose_heartbeats, self._outage)

    def come_back(self) -> None:
        """Answer again."""
        self._outage += 1
        self._up.set()

    async def answers(self) -> None:
        """Wait until it does."""
        await self._up.wait()

    def watch_heartbeats(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task once its heartbeats have not been heard for too long."""
        self._with_heartbeats[task] = None
        task.add_done_callback(lambda done: self._with_heartbeats.pop(done, None))

    def _end(self, outage: int) -> None:
        if outage == self._outage:
            self.come_back()

    def _lose_heartbeats(self, outage: int) -> None:
        if outage == self._outage and self.is_down:
            for task in tuple(self._with_heartbeats):
                task.cancel()
