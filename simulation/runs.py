"""Many seeds, some at once: each process has a server of its own and takes the next seed."""

from __future__ import annotations

import gc
import multiprocessing
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from simulation.database import open_server
from simulation.scenario import Plan, Result, run_seed

ANSWER_SECONDS = 5.0


class ProcessEnded(Exception):
    """A process that ran seeds has died."""


MANY_OBJECTS = 50_000
"""A run makes millions of short-lived objects beside some hundred thousand that stay: looking for
cycles each 700 of them, as by default, is a twentieth of its time."""


def run_seeds(plans: Sequence[Plan], processes: int) -> Iterator[Result]:
    """Run all plans, in this process where one at a time is enough; results as they come.

    Raises:
        ProcessEnded: a process that ran seeds died.
    """
    if processes <= 1 or len(plans) <= 1:
        with open_server() as server:
            for plan in plans:
                yield run_seed(plan, server)
        return
    context = multiprocessing.get_context("spawn")
    waiting: Any = context.Queue()
    results: Any = context.Queue()
    for task in (*plans, *([None] * processes)):
        waiting.put(task)
    runners = [context.Process(target=_run, args=(waiting, results)) for _ in range(processes)]
    for runner in runners:
        runner.start()
    try:
        for _ in plans:
            yield _next_of(results, runners)
    except BaseException:
        for runner in runners:
            runner.terminate()
        raise
    finally:
        for runner in runners:
            runner.join()


def _next_of(results: Any, runners: Sequence[Any]) -> Result:
    while True:
        try:
            result: Result = results.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            if any(runner.exitcode not in {None, 0} for runner in runners):
                raise ProcessEnded from None
        else:
            return result


def _run(waiting: Any, results: Any) -> None:
    # Ended early, it still takes its server down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _collect_seldom()
    with open_server() as server:
        while (plan := waiting.get()) is not None:
            results.put(run_seed(plan, server))


def _collect_seldom() -> None:
    gc.freeze()
    gc.set_threshold(MANY_OBJECTS, 20, 20)
