"""The workers' entry point: workflows, activities, loops, and an orderly end.

Two roles, each a process of its own. The main worker decides and enters, and does everything that
is not urgent. The exits worker watches prices and carries out exits; it has a task queue, slots,
database connections and venue clients of its own, so nothing that the main worker does or fails to
do keeps an exit waiting.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
import uvloop
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.temporal.client import TemporalWorkflows
from bootstrap import (
    ExitsContainer,
    MissingSetting,
    Readiness,
    WorkerContainer,
    build_exits,
    build_worker,
    settle_memory,
)
from domain.contracts.exits import exits_task_queue
from domain.ports import WorkflowServiceUnavailable
from observability import configure_logging
from settings import Settings, load
from workflows.account_deletion import AccountDeletionWorkflow
from workflows.bot import BotWorkflow
from workflows.exits import ExitWorkflow
from workflows.export import ExportWorkflow
from workflows.kill_switch import KillSwitchWorkflow
from workflows.notify import NotifyWorkflow, ReportWorkflow
from workflows.signal import SignalWorkflow
from workflows.stripe_event import StripeEventWorkflow
from workflows.subscription import SubscriptionWorkflow
from workflows.watch import WatchWorkflow

WORKFLOWS = (
    AccountDeletionWorkflow,
    ExportWorkflow,
    SubscriptionWorkflow,
    StripeEventWorkflow,
    KillSwitchWorkflow,
    NotifyWorkflow,
    ReportWorkflow,
    SignalWorkflow,
    BotWorkflow,
    WatchWorkflow,  # of an installation that had no exits worker: it moves there
)
EXITS_WORKFLOWS = (ExitWorkflow, WatchWorkflow)

MAIN, EXITS = "worker", "exits"

# After a worker dies, a workflow task waits this long for it before another worker may take it.
STICKY_TIMEOUT = timedelta(seconds=1)
GRACE = timedelta(seconds=8)
PROMPT_SECONDS = 2.0
"""How long exits under way may take to end before the workflows' activities are told to."""

CACHED_WORKFLOWS = 2_000
ACTIVITIES_AT_ONCE = 100
# A bar wakes every bot at once; the default of five polls would hand them out one by one.
POLLS = 20
HEARTBEAT = timedelta(seconds=1)
"""The SDK would pass heartbeats on at four fifths of their timeout: one that is a moment late on a
busy machine would then count as a death."""

CONNECT_DELAY_SECONDS = 0.5
END_SECONDS_MAX = 10.0
"""How long a process that ends waits for its activities and for Temporal, which may be away."""

MAIN_NICENESS = 5
"""Where cores are scarce, whatever exits need (their worker, the servers, the API) goes first."""

_log = structlog.get_logger("nija.worker")


async def run(settings: Settings) -> None:
    """Run the main worker until SIGTERM or SIGINT; finish what is being done, then end."""
    stop = _stop_event()
    async with (
        build_worker(settings) as container,
        _serving(
            container.workflows,
            lambda it: _worker(it, settings.task_queue, container),
            container.readiness,
        ),
        container.chores as lock,
    ):
        await _loop_until(
            stop,
            "main",
            container.readiness.keep(),
            lock.while_held(container.sweeper.run),
            lock.while_held(container.pump.run),
            lock.while_held(container.bars.run),
        )


async def run_exits(settings: Settings) -> None:
    """Run an exits worker until SIGTERM or SIGINT; finish what is being done, then end.

    Prices are watched and exits leave whether or not Temporal answers, from the start on. At the
    end others watch and poll at once, while what this process has under way ends.
    """
    stop = _stop_event()
    async with (
        build_exits(settings) as container,
        _serving(
            container.workflows,
            lambda it: _exits_worker(it, settings.task_queue, container),
            container.readiness,
        ),
    ):
        try:
            async with container.polling as polling, container.watching as watching:
                await _loop_until(
                    stop,
                    "exits",
                    container.readiness.keep(),
                    polling.while_held(container.dispatch.run),
                    watching.while_held(container.watches.run),
                )
        finally:
            await container.prompt.close(PROMPT_SECONDS)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


async def _loop_until(stop: asyncio.Event, role: str, *loops: Coroutine[None, None, None]) -> None:
    """Run the loops of a worker beside its activities until it is to stop."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    settle_memory()
    _log.info("worker.began", role=role)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done() and not stop.is_set():
            # A loop that ends is a defect: die loudly, the supervisor starts us again.
            task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    _log.info("worker.stopped", role=role)


@asynccontextmanager
async def _serving(
    workflows: TemporalWorkflows, make: Callable[[Client], Worker], readiness: Readiness
) -> AsyncIterator[None]:
    """Run workflows and activities beside, whenever Temporal answers; nothing waits for that."""
    ending = asyncio.Event()
    task = asyncio.create_task(_serve(workflows, make, readiness, ending))
    try:
        yield
    finally:
        ending.set()
        task.cancel()
        await asyncio.wait({task}, timeout=END_SECONDS_MAX)


async def _serve(
    workflows: TemporalWorkflows,
    make: Callable[[Client], Worker],
    readiness: Readiness,
    ending: asyncio.Event,
) -> None:
    while not ending.is_set():
        try:
            client = await workflows.client()
            async with make(client):
                _log.info("worker.serves")
                readiness.serves = True
                await asyncio.Event().wait()
        except WorkflowServiceUnavailable:
            _log.warning("worker.temporal_unavailable")
        except Exception as failure:  # noqa: BLE001 - a boundary: the loops need no Temporal
            _log.exception("worker.serving_failed", error=type(failure).__name__)
        finally:
            readiness.serves = False
        await asyncio.sleep(CONNECT_DELAY_SECONDS)


def _worker(client: Client, task_queue: str, container: WorkerContainer) -> Worker:
    return Worker(
        client,
        task_queue=task_queue,
        workflows=list(WORKFLOWS),
        activities=[
            container.bots.guard,
            container.bots.hunt,
            container.orders.place,
            container.orders.settle,
            container.markets.watch,
            container.accounts.erase,
            container.billing.tend,
            container.billing.handle_event,
            container.exports.write,
            container.exports.give_up,
            container.signals.follow,
            container.notify.deliver,
            container.notify.report,
            container.kill_switch.begin,
            container.kill_switch.tell,
            container.kill_switch.look,
            container.kill_switch.finish,
        ],
        # Every test runs them in the sandbox; here it would cost a fifth of this process.
        workflow_runner=UnsandboxedWorkflowRunner(),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACE,
        max_cached_workflows=CACHED_WORKFLOWS,
        max_concurrent_activities=ACTIVITIES_AT_ONCE,
        max_heartbeat_throttle_interval=2 * HEARTBEAT,
        max_concurrent_workflow_task_polls=POLLS,
        max_concurrent_activity_task_polls=POLLS,
    )


def _exits_worker(client: Client, task_queue: str, container: ExitsContainer) -> Worker:
    return Worker(
        client,
        task_queue=exits_task_queue(task_queue),
        workflows=list(EXITS_WORKFLOWS),
        activities=[
            container.exits.make_due,
            container.orders.place,
            container.orders.settle,
            container.markets.watch,
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACE,
        max_cached_workflows=CACHED_WORKFLOWS,
        max_concurrent_activities=ACTIVITIES_AT_ONCE,
        max_heartbeat_throttle_interval=HEARTBEAT,
        max_concurrent_workflow_task_polls=POLLS,
        max_concurrent_activity_task_polls=POLLS,
    )


def main() -> None:
    """Entry point of `python -m worker` (everything but exits) and `python -m worker exits`."""
    role = _role(sys.argv[1:])
    try:
        settings = load()
    except ValidationError as failure:
        sys.exit(f"A setting is wrong:\n{failure}")
    if role == MAIN:
        os.nice(MAIN_NICENESS)
    configure_logging(
        settings.log_level,
        settings.log_format,
        service="worker" if role == MAIN else "exits-worker",
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_exits(settings) if role == EXITS else run(settings))
    except MissingSetting as failure:
        sys.exit(str(failure))


def _role(arguments: Sequence[str]) -> str:
    if not arguments:
        return MAIN
    if arguments == [EXITS]:
        return EXITS
    sys.exit("Usage: python -m worker [exits]")


if __name__ == "__main__":
    main()
