"""Connections whose statements are carried out one at a time, in an order that the seed picks.

psycopg waits for the server in one place, `AsyncConnection.wait`. Here a statement first waits
until it is scheduled; then it is sent and its answer is read without letting anything else run. A
statement that waits for a lock at the server is set aside, and is gone on with right after the
statement that let it go. Its server process is stopped meanwhile: of several that one lock was kept
from, the server lets each go on at once, and which of them comes first to the next lock would be
chance. So the order of everything that happens in the database depends on the seed alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, pq, waiting
from psycopg._adapters_map import AdaptersMap
from psycopg.conninfo import make_conninfo

from simulation.processes import Process
from simulation.violations import Violation

ANSWER_MS = 4
"""A statement that takes longer is asked about: does it wait for a lock?"""

LOCK_WAIT_SECONDS = 5.0
"""Virtual: what `lock_timeout` is in the product. The server's own would count real time."""

PREPARED_AFTER, PREPARED_MAX = 1, 1_000
"""Planning is most of a short statement's time: nearly each is planned once a connection."""

STUCK_MS = 60_000
"""Real: a server that neither answers nor waits for a lock for so long is broken."""

_ENDINGS = frozenset({"_commit_gen", "_rollback_gen"})
"""They send nothing outside a transaction: a pool rolls back every connection that comes back."""

_ENTERING = "BasePipeline._enter_gen"
"""Begins a pipeline for the many rows of one statement: psycopg does not let go of it half begun,
so a time limit that ran out in it would be what cannot happen."""

_READ, _WRITE = int(waiting.WAIT_R), int(waiting.WAIT_W)


class Statement:
    """A psycopg generator on its way: not begun, at the server, or waiting for a lock there."""

    def __init__(self, connection: SteppedConnection, work: Any, done: asyncio.Future[Any]) -> None:
        self.connection = connection
        self.done = done
        self._work = work
        self._wanted: int | None = None
        self.is_begun = False

    @property
    def backend(self) -> int:
        """The server process that carries it out."""
        return self.connection.pgconn.backend_pid

    def advance(self, timeout_ms: int) -> bool:
        """Go on until it has ended (True), or the server was silent for that long."""
        self.is_begun = True
        try:
            if self._wanted is None:
                self._wanted = next(self._work)
            poll = select.poll()
            while True:
                events = (select.POLLIN if self._wanted & _READ else 0) | (
                    select.POLLOUT if self._wanted & _WRITE else 0
                )
                descriptor = self.connection.pgconn.socket
                poll.register(descriptor, events)
                found = poll.poll(timeout_ms)
                if not found:
                    return False
                _, happened = found[0]
                ready = (_READ if happened & ~select.POLLOUT else 0) | (
                    _WRITE if happened & select.POLLOUT else 0
                )
                self._wanted = self._work.send(ready)
        except StopIteration as end:
            if not self.done.done():
                self.done.set_result(end.value)
        except psycopg.Error as failure:
            if not self.done.done():
                self.done.set_exception(failure)
        return True

    def halt(self) -> None:
        """Stop its server process, which waits for a lock and so holds nothing of the server's."""
        os.kill(self.backend, signal.SIGSTOP)

    def release(self) -> None:
        """Let its server process run."""
        os.kill(self.backend, signal.SIGCONT)

    def cancel(self) -> None:
        """Have the server give it up, and read its refusal."""
        self.release()
        self.connection.pgconn.get_cancel().cancel()
        if not self.advance(STUCK_MS):
            raise Violation("database", "a cancelled statement did not end")


class StatementScheduler:
    """All connections of a run, and which statement is next.

    Args:
        random_: picks the next statement and how slow it is.
        superuser_url: for asking who waits for whom.
    """

    def __init__(self, random_: random.Random, superuser_url: str) -> None:
        self._random = random_
        self._waiting: list[Statement] = []
        self._parked: list[Statement] = []
        self._monitor = psycopg.connect(superuser_url, autocommit=True)
        self.statements = 0
        self.lock_waits = 0
        self.slowness = 0.0
        self.before_statement: Callable[[Process], None] = _nothing
        self.after_statement: Callable[[Process], None] = _nothing

    def close(self) -> None:
        """Let no server process stay stopped; close the connection that asks about locks."""
        for statement in self._parked:
            statement.release()
        self._monitor.close()

    async def run(self, connection: SteppedConnection, work: Any) -> Any:
        """Carry a statement out once it is scheduled."""
        connection.process.require_alive()
        loop = asyncio.get_running_loop()
        if self._random.random() < self.slowness:
            await asyncio.sleep(self._slow_seconds())
        statement = Statement(connection, work, loop.create_future())
        self._waiting.append(statement)
        try:
            answer = await statement.done
        except asyncio.CancelledError:
            self._withdraw(statement)
            raise
        if self._random.random() < self.slowness:
            await asyncio.sleep(self._slow_seconds())
        connection.process.require_alive()
        return answer

    def take_next(self) -> bool:
        """Carry out one waiting statement, and those that it lets go on."""
        if not self._waiting:
            if self._parked:
                self._find_deadlock()
            return False
        chosen = self._waiting.pop(self._random.randrange(len(self._waiting)))
        self.statements += 1
        process = chosen.connection.process
        self.before_statement(process)
        if process.is_alive:
            self._carry_out(chosen)
            if chosen.connection.is_between_transactions:
                self._resume_parked()
            self.after_statement(process)
        return True

    def drop(self, process: Process) -> None:
        """End the connections of a process that died, as its kernel would, and wait for it."""
        for statement in (*self._waiting, *self._parked):
            if statement.connection.process is process:
                statement.done.cancel()
                if statement in self._parked:
                    statement.release()
        self._waiting = [it for it in self._waiting if it.connection.process is not process]
        self._parked = [it for it in self._parked if it.connection.process is not process]
        backends = []
        for connection in process.connections:
            if not connection.closed:
                backends.append(connection.pgconn.backend_pid)
                connection.pgconn.finish()
        process.connections.clear()
        if backends:
            self._wait_until_gone(backends)
        self._resume_parked()

    def _wait_until_gone(self, backends: list[int]) -> None:
        self._monitor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", (backends,))
        for _ in range(STUCK_MS):
            left = self._monitor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (backends,)
            ).fetchone()
            if left == (0,):
                return
            select.poll().poll(1)
        raise Violation("database", "a session did not end with its process")

    def _carry_out(self, statement: Statement) -> None:
        if not self._goes_on(statement):
            self.lock_waits += 1
            statement.halt()
            self._parked.append(statement)
            asyncio.get_running_loop().call_later(LOCK_WAIT_SECONDS, self._give_up, statement)

    def _goes_on(self, statement: Statement) -> bool:
        """Go on until it ends (True) or waits for a lock."""
        for _ in range(STUCK_MS // ANSWER_MS):
            if statement.advance(ANSWER_MS):
                return True
            if self._blockers(statement):
                # The answer may have come between the two questions.
                return statement.advance(0)
        raise Violation("database", "the server neither answers nor waits for a lock")

    def _blockers(self, statement: Statement) -> list[int]:
        row = self._monitor.execute("SELECT pg_blocking_pids(%s)", (statement.backend,)).fetchone()
        return list(row[0]) if row else []

    def _resume_parked(self) -> None:
        """Go on with whatever waits for no lock any more, in the order in which they came."""
        while self._parked:
            blocked = self._blocked([it.backend for it in self._parked])
            free = [it for it in self._parked if it.backend not in blocked]
            if not free:
                return
            statement = free[0]
            statement.release()
            if self._goes_on(statement):
                self._parked.remove(statement)
            else:
                statement.halt()

    def _blocked(self, backends: list[int]) -> set[int]:
        rows = self._monitor.execute(
            "SELECT pid FROM unnest(%s::int[]) pid WHERE cardinality(pg_blocking_pids(pid)) > 0",
            (backends,),
        ).fetchall()
        return {row[0] for row in rows}

    def _find_deadlock(self) -> None:
        waits_for = {it.backend: set(self._blockers(it)) for it in self._parked}
        reached = set(waits_for)
        while True:
            stuck = {pid for pid in reached if waits_for[pid] & reached}
            if stuck == reached:
                break
            reached = stuck
        if reached:
            raise Violation("deadlock", f"{len(reached)} transactions wait for each other")

    def _give_up(self, statement: Statement) -> None:
        """What `lock_timeout` does."""
        if statement not in self._parked:
            return
        self._parked.remove(statement)
        taken, statement.done = statement.done, asyncio.get_running_loop().create_future()
        statement.cancel()
        statement.done.exception()
        if not taken.done():
            taken.set_exception(
                psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")
            )
        self._resume_parked()

    def _withdraw(self, statement: Statement) -> None:
        if statement in self._waiting:
            self._waiting.remove(statement)
        elif statement in self._parked:
            self._parked.remove(statement)
            statement.cancel()
            self._resume_parked()

    def _slow_seconds(self) -> float:
        """Mostly some milliseconds, seldom seconds: a busy machine."""
        return self._random.choice((0.002, 0.02, 0.1, 0.5, 3.0, 6.0))


def _nothing(_process: Process) -> None:
    """Nobody is interested."""


def _ended(work: Any) -> Any:
    """The result of a generator that has nothing to ask the server."""
    try:
        next(work)
    except StopIteration as end:
        return end.value
    raise Violation("database", "what has nothing to ask asked the server")


class SteppedConnection(AsyncConnection[Any]):
    """A connection whose statements wait until they are scheduled."""

    scheduler: StatementScheduler
    process: Process

    @property
    def is_between_transactions(self) -> bool:
        """Whether it holds no locks of a transaction."""
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    async def wait(
        self,
        gen: Any,
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own parameter
    ) -> Any:
        """Carry a generator out once it is scheduled; at once where it asks the server nothing."""
        if gen.__qualname__ == _ENTERING or (
            self.is_between_transactions and gen.__name__ in _ENDINGS
        ):
            return _ended(gen)
        return await self.scheduler.run(self, gen)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Any]:
        """No pipeline: how many answers of one arrive together depends on real time."""
        yield None

    @classmethod
    async def open(
        cls, scheduler: StatementScheduler, process: Process, conninfo: str = "", **options: Any
    ) -> Self:
        """Connect; the server answers at once, so nothing else runs meanwhile."""
        process.require_alive()
        context = options.pop("context", None)
        row_factory = options.pop("row_factory", None)
        autocommit = bool(options.pop("autocommit", False))
        options.pop("prepare_threshold", None)
        text = make_conninfo(conninfo, **options)
        made: Self = waiting.wait_conn(cls._connect_gen(text), interval=0.1, timeout=30.0)
        made.scheduler, made.process = scheduler, process
        made._autocommit = autocommit  # as `AsyncConnection.connect` does
        if context is not None:
            made._adapters = AdaptersMap(context.adapters)
        made.prepare_threshold, made.prepared_max = PREPARED_AFTER, PREPARED_MAX
        if row_factory is not None:
            made.row_factory = row_factory
        process.connections.append(made)
        return made
