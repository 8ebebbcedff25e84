"""The processes of a run: workers, exits workers and an API, started, killed, started again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from simulation.gateways import KEY
from simulation.processes import Process, outside
from simulation.statements import StatementScheduler
from simulation.system import Ground, Services, wire
from simulation.trace import Trace

WORKERS = ("w1", "w2")
EXITS_WORKERS = ("x1", "x2")
API = "api"
THAW_SECONDS = 20.0, 600.0
"""Between two times that an exits worker watches although another holds the lock."""

NOTICE_SECONDS = 6.0
LEADER_SECONDS = 2.0
"""How soon a process takes over what a dead one did alone (`services.session_lock`)."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One life of a process with its services."""

    process: Process
    services: Services


class Cluster:
    """Keeps every process alive, but for the moments after its death.

    Args:
        ground: what processes stand on.
        random_: decides who dies when, and how long it stays away.
        trace: told of deaths and starts.
        crash_rate: chance of each statement to be the last of its process.
    """

    def __init__(self, ground: Ground, random_: random.Random, trace: Trace) -> None:
        self._ground = ground
        self._random = random_
        self._trace = trace
        self._lives: dict[str, int] = {}
        self._running: dict[str, Worker] = {}
        self._leaders: dict[str, Process] = {}
        self._started = asyncio.Event()
        self.crash_rate = 0.0
        self.crashes = 0
        self.on_error: Callable[[asyncio.Task[Any]], None] = lambda _task: None
        ground.scheduler.before_statement = self._maybe_die
        ground.scheduler.after_statement = self._maybe_die

    @property
    def scheduler(self) -> StatementScheduler:
        """All connections."""
        return self._ground.scheduler

    def start_all(self) -> None:
        """Start every process."""
        for name in (*WORKERS, *EXITS_WORKERS, API):
            self.start(name)

    def start(self, name: str) -> None:
        """Start a process: services anew, and the sweeper where it is a worker."""
        life = self._lives[name] = self._lives.get(name, 0) + 1
        process = Process(name, life)
        services = wire(self._ground, process)
        self._running[name] = Worker(process, services)
        for loop in self._loops(name, process, services):
            process.spawn(loop).add_done_callback(self.on_error)
        self._started.set()
        self._trace.add(process.name, "starts")

    def _loops(
        self, name: str, process: Process, services: Services
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        if name in WORKERS:
            return (
                self._lead("sweep", process, services.sweeper.run),
                self._lead("bars", process, services.bars.run),
            )
        if name in EXITS_WORKERS:
            one_at_a_time = asyncio.Lock()

            async def watch() -> None:
                async with one_at_a_time:
                    await services.watching.watch(KEY)

            return (
                self._lead("poll", process, services.dispatch.run),
                self._lead("watch", process, watch),
                self._watch_too(process, watch),
            )
        return ()

    async def _lead(
        self, what: str, process: Process, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Run a loop that one process runs at a time, once the one before has died."""
        while (leader := self._leaders.get(what)) is not None and leader.is_alive:
            await asyncio.shield(leader.death)
            await asyncio.sleep(self._random.uniform(0.1, LEADER_SECONDS))
        self._leaders[what] = process
        await run()

    async def _watch_too(
        self, process: Process, watch: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Watch beside the leader now and then, as a process that froze does until it notices."""
        while True:
            await asyncio.sleep(self._random.uniform(*THAW_SECONDS))
            if self._leaders.get("watch") is not process:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._random.uniform(0.01, NOTICE_SECONDS)):
                        await watch()

    def kill(self, name: str) -> None:
        """Kill a process wherever its tasks are; it comes back after a while."""
        worker = self._running.pop(name, None)
        if worker is None:
            return
        self.crashes += 1
        self._trace.add(worker.process.name, "dies")
        worker.process.die()
        self.scheduler.drop(worker.process)
        outside(self._come_back(name))

    async def _come_back(self, name: str) -> None:
        await asyncio.sleep(self._random.choice((0.2, 1.0, 5.0, 20.0)))
        self.start(name)

    async def some_worker(self, *, exits: bool = False) -> Worker:
        """A worker, or exits worker, that lives, once there is one."""
        names = EXITS_WORKERS if exits else WORKERS
        while True:
            alive = [self._running[name] for name in names if name in self._running]
            if alive:
                return self._random.choice(alive)
            self._started.clear()
            await self._started.wait()

    async def api(self) -> Worker:
        """The API process, once there is one."""
        while API not in self._running:
            self._started.clear()
            await self._started.wait()
        return self._running[API]

    def _maybe_die(self, process: Process) -> None:
        if self._random.random() < self.crash_rate:
            self.kill(process.name.partition(".")[0])

    def stop(self) -> None:
        """Take everything down at the end of a run."""
        self.crash_rate = 0.0
        for name in tuple(self._running):
            worker = self._running.pop(name)
            worker.process.die()
            self.scheduler.drop(worker.process)
