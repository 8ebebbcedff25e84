"""Which processes serve, and since when all do that an exit needs.

A process serves when it has answered; it stops serving when it is killed, or when its pid is
another one. Asking costs the processes something, so one that serves is not asked again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import psutil
import psycopg
from temporalio.client import Client
from temporalio.service import RPCError

from tests.support.up import RunningStack

LOOK_SECONDS = 0.1
PROBE_SECONDS = 2.0
NOT_FOR_EXITS = frozenset({"api", "worker"})
"""Processes that no exit needs, where there is a worker for exits alone."""

EXITS_WORKER = "exits-worker"
SUPERVISOR = "supervisor"
BEGAN = b'"worker.began"'


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of wall time, in seconds since 1970."""

    began: float
    ended: float

    def within(self, began: float, ended: float) -> float:
        """How many seconds of it lie in another interval."""
        return max(0.0, min(self.ended, ended) - max(self.began, began))


class Timeline:
    """Intervals in which something held.

    Attributes:
        spans: those that are over.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self.spans: list[Span] = []

    @property
    def seconds(self) -> float:
        """For how long it has held now."""
        return 0.0 if self._since is None else time.time() - self._since

    def note(self, *, holds: bool) -> None:
        """Whether it holds at present."""
        if holds and self._since is None:
            self._since = time.time()
        elif not holds and self._since is not None:
            self.spans.append(Span(self._since, time.time()))
            self._since = None


class Uptime:
    """Watches all children of a stack.

    Args:
        stack: whose.
        is_blind: whether a fault keeps the exchange from showing prices or taking exits.

    Attributes:
        for_exits: when everything served that an exit needs.
        for_all: when everything served.
        recoveries: seconds from each kill until the process served again, by process.
    """

    def __init__(self, stack: RunningStack, is_blind: Callable[[], bool]) -> None:
        self._stack = stack
        self._is_blind = is_blind
        self._serving: dict[str, int] = {}
        self._pids: dict[str, int | None] = {}
        self._killed_at: dict[str, float] = {}
        self._log_from: dict[tuple[str, int], int] = {}
        self._began: set[str] = set()
        self.for_exits = Timeline()
        self.for_all = Timeline()
        self.recoveries: dict[str, list[float]] = defaultdict(list)
        self._probes: dict[str, Callable[[int], Awaitable[bool]]] = {
            "postgres": self._postgres_answers,
            "temporal": self._temporal_answers,
            "simulator": self._simulator_answers,
            "api": self._api_answers,
        }

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of all children."""
        return tuple(sorted(self._pids))

    def pid(self, name: str) -> int | None:
        """The process of that name, if it runs."""
        return self._pids.get(name)

    def serves(self, name: str) -> bool:
        """Whether a process has answered since it was started."""
        pid = self._pids.get(name)
        return pid is not None and self._serving.get(name) == pid

    @property
    def all_serve(self) -> bool:
        """Whether every process has."""
        return bool(self._pids) and all(self.serves(name) for name in self._pids)

    @property
    def exits_are_served(self) -> bool:
        """Whether every process has answered that an exit needs."""
        needed = set(self._pids) - (NOT_FOR_EXITS if EXITS_WORKER in self._pids else {"api"})
        return bool(needed) and all(map(self.serves, needed))

    def killed(self, name: str) -> None:
        """Note that a process was just killed."""
        self._serving.pop(name, None)
        self._killed_at.setdefault(name, time.time())
        self._judge()

    def close(self) -> None:
        """End the intervals that go on."""
        self.for_exits.note(holds=False)
        self.for_all.note(holds=False)

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Read who runs, and ask those that have not answered yet."""
        try:
            pids = self._stack.run["pids"]
        except (OSError, json.JSONDecodeError):
            return  # being replaced
        self._pids = {name: pid for name, pid in pids.items() if name != SUPERVISOR}
        asked = [(name, pid) for name, pid in self._pids.items() if pid and not self.serves(name)]
        answers = await asyncio.gather(*(self._answers(name, pid) for name, pid in asked))
        for (name, pid), has_answered in zip(asked, answers, strict=True):
            if has_answered and psutil.pid_exists(pid):
                self._served(name, pid)
        self._judge()

    def _served(self, name: str, pid: int) -> None:
        self._serving[name] = pid
        killed_at = self._killed_at.pop(name, None)
        if killed_at is not None:
            self.recoveries[name].append(time.time() - killed_at)

    def _judge(self) -> None:
        sees = not self._is_blind()
        self.for_exits.note(holds=sees and self.exits_are_served)
        self.for_all.note(holds=sees and self.all_serve)

    async def _answers(self, name: str, pid: int) -> bool:
        probe = self._probes.get(name)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await probe(pid) if probe else self._has_begun(name, pid)
        except (TimeoutError, OSError, RuntimeError, RPCError, psycopg.Error, httpx.HTTPError):
            return False

    async def _postgres_answers(self, pid: int) -> bool:
        del pid
        async with await psycopg.AsyncConnection.connect(
            self._stack.run["system_database_url"], autocommit=True
        ) as connection:
            await connection.execute("SELECT 1")
        return True

    async def _temporal_answers(self, pid: int) -> bool:
        del pid
        client = await Client.connect(self._stack.run["temporal_address"])
        return await client.service_client.check_health()

    async def _simulator_answers(self, pid: int) -> bool:
        del pid
        return await _is_ok(f"{self._stack.run['simulator_url']}/control/healthz")

    async def _api_answers(self, pid: int) -> bool:
        del pid
        return await _is_ok(f"{self._stack.run['api_url']}/health")

    def _has_begun(self, name: str, pid: int) -> bool:
        """A worker logs that its loops run; its metrics page is there some seconds earlier.

        That page says when it is ready. What exits need besides is asked here by itself.
        """
        log = self._stack.data_dir / "logs" / f"{name}.log"
        size = log.stat().st_size
        # The first of its name may have been ready before anything was watched.
        start = self._log_from.setdefault((name, pid), size if name in self._began else 0)
        self._began.add(name)
        with log.open("rb") as stream:
            stream.seek(start if start <= size else 0)
            return BEGAN in stream.read()


async def _is_ok(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).is_success
