"""Activities as Temporal runs them: in some worker, tried again as their policy says.

A worker that dies is noticed when its heartbeats stay away, and now and then an attempt is given up
that still runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import sqlalchemy.exc

from domain.ports import VenueRefusedKeys, VenueUnavailable, WorkflowServiceUnavailable
from services.orders.row_locks import RowsLocked
from simulation.cluster import Cluster, Worker
from simulation.system import Services
from simulation.trace import Trace
from simulation.violations import Violation
from workflows import policies

HEARTBEATS_MISSED = policies.HEARTBEAT_TIMEOUT.total_seconds()
ZOMBIE_SECONDS = 6.0
Answer = TypeVar("Answer")
Call = Callable[[Services], Coroutine[Any, Any, Answer]]

EXPECTED = (
    VenueUnavailable,
    VenueRefusedKeys,
    WorkflowServiceUnavailable,
    sqlalchemy.exc.TimeoutError,
    psycopg.errors.LockNotAvailable,
    RowsLocked,
)
"""What an activity may fail with; everything else is a defect."""


class ActivityFailed(Exception):
    """An activity has used up its attempts."""


def is_expected(failure: BaseException) -> bool:
    """Whether a service may fail so: a server that is away, a lock that was not to be had."""
    if isinstance(failure, sqlalchemy.exc.OperationalError):
        failure = failure.orig or failure
    if isinstance(failure, psycopg.OperationalError) and failure.sqlstate is None:
        return True  # the connection's own trouble, such as a pipeline that a timeout cut off
    return isinstance(failure, EXPECTED)


class Activities:
    """Runs activities on the cluster's workers.

    Args:
        cluster: the processes.
        random_: picks the worker, and the attempts that are given up too early.
        fail: told of what no activity may fail with.
    """

    def __init__(
        self,
        cluster: Cluster,
        random_: random.Random,
        trace: Trace,
        fail: Callable[[Violation], None],
    ) -> None:
        self.cluster = cluster
        self.given_up_rate = 0.0
        self._random = random_
        self._trace = trace
        self._fail = fail

    async def execute(
        self,
        name: str,
        call: Call[Answer],
        options: policies.ActivityOptions | policies.LocalActivityOptions,
        *,
        exits: bool = False,
    ) -> Answer:
        """Run to a result; raises ActivityFailed after the last attempt that the policy allows."""
        retry, attempt = options["retry_policy"], 1
        pause = retry.initial_interval.total_seconds()
        longest = (retry.maximum_interval or timedelta(seconds=100)).total_seconds()
        while True:
            worker = await self.cluster.some_worker(exits=exits)
            ended, answer = await self._attempt(worker, name, call, options)
            if ended:
                result: Answer = answer
                return result
            if attempt == retry.maximum_attempts:
                raise ActivityFailed(name)
            attempt += 1
            await asyncio.sleep(pause)
            pause = min(pause * retry.backoff_coefficient, longest)

    async def _attempt(
        self,
        worker: Worker,
        name: str,
        call: Call[Answer],
        options: policies.ActivityOptions | policies.LocalActivityOptions,
    ) -> tuple[bool, Any]:
        process = worker.process
        task = process.spawn(call(worker.services))
        limit = options["start_to_close_timeout"].total_seconds()
        is_given_up = self._random.random() < self.given_up_rate
        if is_given_up:
            limit = self._random.uniform(0.01, 2.0)
        await asyncio.wait(
            {task, process.death}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
        if not process.is_alive:
            self._trace.add("temporal", f"{name} lost with {process.name}")
            await asyncio.sleep(HEARTBEATS_MISSED)
            return False, None
        if not task.done():
            self._trace.add("temporal", f"{name} given up in {process.name}")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            asyncio.get_running_loop().call_later(ZOMBIE_SECONDS, task.cancel)
            return False, None
        if task.cancelled():
            return False, None
        failure = task.exception()
        if failure is None:
            return True, task.result()
        self._trace.add("temporal", f"{name} failed: {type(failure).__name__}: {failure}")
        if not is_expected(failure):
            self._fail(
                Violation("unexpected_error", f"{name}: {type(failure).__name__}: {failure}")
            )
        return False, None
