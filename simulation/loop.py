"""An event loop with virtual time: whenever nothing can go on, time moves to the next timer.

No real input or output happens in it. A statement to the database is carried out synchronously by
`simulation.statements`, which the loop asks for the next one whenever every task waits.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

from simulation.violations import Violation

LEAST_DELAY = 1e-6
_Args = TypeVarTuple("_Args")


class IdleWork(Protocol):
    """Work that is carried out while every task waits."""

    def take_next(self) -> bool:
        """Carry out one piece of work; False where there is none."""
        ...


class _NoInput(selectors.BaseSelector):
    """A selector that never looks at a file: it has idle work done, or moves the time."""

    def __init__(self, on_idle: Callable[[float | None], None]) -> None:
        self._on_idle = on_idle
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(
            fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data
        )
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._on_idle(timeout)
        return []

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in their order, idle work when there are none, timers when neither."""

    def __init__(self) -> None:
        super().__init__(_NoInput(self._idle))
        self._virtual_now = 0.0
        self._clock_resolution = 1e-9
        self._task_count = 0
        self.idle_work: IdleWork | None = None

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Wait at least a moment: rounding must not let a loop spin without time going on."""
        if when > self._virtual_now:
            when = max(when, self._virtual_now + LEAST_DELAY)
        return super().call_at(when, callback, *args, context=context)

    def next_task_number(self) -> int:
        """A number for the next task; asyncio's own counter is shared by all loops."""
        self._task_count += 1
        return self._task_count

    def _idle(self, seconds_to_timer: float | None) -> None:
        if self.idle_work is not None and self.idle_work.take_next():
            return
        if seconds_to_timer is None:
            raise Violation("stalled", "every task waits and no timer runs")
        self._virtual_now += seconds_to_timer
