"""Operating-system processes of a run: what they own, and how they die."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, Protocol

from simulation.loop import VirtualLoop

_CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class Connection(Protocol):
    """A connection to the database, as its process sees it."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        ...

    @property
    def pgconn(self) -> Any:
        """Libpq's own object."""
        ...


class Process:
    """One life of a process: a name, its tasks and its connections.

    Attributes:
        death: done when it has died.
    """

    def __init__(self, name: str, life: int) -> None:
        self.name = f"{name}.{life}"
        self.is_alive = True
        self.connections: list[Any] = []
        self.death: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in it."""
        token = _CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _CURRENT.reset(token)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take on a task that one of its tasks has made."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def require_alive(self) -> None:
        """Let nothing out of a process that died.

        Raises:
            CancelledError: it did; its tasks are being taken down.
        """
        if not self.is_alive:
            raise asyncio.CancelledError

    def die(self) -> None:
        """Take down every task, wherever it waits; connections are the scheduler's business."""
        self.is_alive = False
        self.death.set_result(None)
        for task in tuple(self._tasks):
            task.cancel()


def outside(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run something that outlives every process: the network, the venue, users, Temporal."""
    token = _CURRENT.set(None)
    try:
        return asyncio.get_running_loop().create_task(work)
    finally:
        _CURRENT.reset(token)


def task_factory(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    *,
    context: Context | None = None,
) -> asyncio.Task[Any]:
    """Make a task that belongs to the process of its maker, numbered by the loop."""
    assert isinstance(loop, VirtualLoop)
    process = _CURRENT.get()
    if context is not None:
        context.run(_CURRENT.set, process)
    task: asyncio.Task[Any] = asyncio.Task(
        work, loop=loop, name=f"T{loop.next_task_number()}", context=context
    )
    if process is not None:
        process.own(task)
    return task
