"""The workers' door: workflows, activities, loops, and an orderly end.

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
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

import structlog
import uvloop
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.temporal.client import TemporalWorkflows
from bootstrap import (
    ExitsContainer,
    MissingSetting,
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
"""How long exits in hand may take to end before the workflows' activities are told to."""

CACHED_WORKFLOWS = 2_000
ACTIVITIES_AT_ONCE = 100
# A bar wakes every bot at once; the default of five polls would hand them out one by one.
POLLS = 20
HEARTBEAT = timedelta(seconds=1)
"""The SDK would pass heartbeats on at four fifths of their timeout: one that is a moment late on a
busy machine would then count as a death."""

CONNECT_PAUSE_SECONDS = 0.5
MAIN_NICENESS = 5
"""Where cores are scarce, whatever exits need (their worker, the servers, the API) goes first."""

_log = structlog.get_logger("nija.worker")


class Container(Protocol):
    """What a worker of either role is built on."""

    @property
    def workflows(self) -> TemporalWorkflows:
        """The connection to Temporal."""
        ...


async def run(settings: Settings) -> None:
    """Run the main worker until SIGTERM or SIGINT; finish what is being done, then end."""
    stop = _stop_event()
    async with build_worker(settings) as container:
        client = await _connect(container, stop)
        if client is None:
            return
        async with container.chores as lock, _worker(client, settings.task_queue, container):
            await _loop_until(
                stop,
                "main",
                lock.while_held(container.sweeper.run),
                lock.while_held(container.pump.run),
            )


async def run_exits(settings: Settings) -> None:
    """Run an exits worker until SIGTERM or SIGINT; finish what is being done, then end."""
    stop = _stop_event()
    async with build_exits(settings) as container:
        client = await _connect(container, stop)
        if client is None:
            return
        async with container.polling as lock, _exits_worker(client, settings.task_queue, container):
            try:
                await _loop_until(stop, "exits", lock.while_held(container.dispatch.run))
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
    _log.info("worker.ready", role=role)
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


async def _connect(container: Container, stop: asyncio.Event) -> Client | None:
    while not stop.is_set():
        try:
            return await container.workflows.client()
        except WorkflowServiceUnavailable:
            _log.warning("worker.temporal_unavailable")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), CONNECT_PAUSE_SECONDS)
    return None


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
