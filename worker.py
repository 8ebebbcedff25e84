"""The worker's door: workflows, activities, the sweeper, and an orderly end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from datetime import timedelta

import structlog
import uvloop
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bootstrap import MissingSetting, WorkerContainer, build_worker, settle_memory
from domain.ports import WorkflowServiceUnavailable
from observability import configure_logging
from settings import Settings, load
from workflows.account_deletion import AccountDeletionWorkflow
from workflows.bot import BotWorkflow
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
    WatchWorkflow,
)

# After a worker dies, a workflow task waits this long for it before another worker may take it.
STICKY_TIMEOUT = timedelta(seconds=1)
GRACE = timedelta(seconds=8)
CACHED_WORKFLOWS = 2_000
ACTIVITIES_AT_ONCE = 100
# A bar wakes every bot at once; the default of five polls would hand them out one by one.
POLLS = 20
CONNECT_PAUSE_SECONDS = 0.5

_log = structlog.get_logger("nija.worker")


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; finish what is being done, then end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with build_worker(settings) as container:
        client = await _connect(container, stop)
        if client is None:
            return
        async with _worker(client, settings.task_queue, container):
            loops = [
                asyncio.create_task(container.sweeper.run()),
                asyncio.create_task(container.pump.run()),
            ]
            settle_memory()
            _log.info("worker.ready", task_queue=settings.task_queue)
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({*loops, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for loop_task in loops:
                if loop_task.done() and not stop.is_set():
                    # A loop that ends is a defect: die loudly, the supervisor starts us again.
                    loop_task.result()
                loop_task.cancel()
                with suppress(asyncio.CancelledError):
                    await loop_task
    _log.info("worker.stopped")


async def _connect(container: WorkerContainer, stop: asyncio.Event) -> Client | None:
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
        max_concurrent_workflow_task_polls=POLLS,
        max_concurrent_activity_task_polls=POLLS,
    )


def main() -> None:
    """Entry point of `python -m worker`."""
    try:
        settings = load()
    except ValidationError as failure:
        sys.exit(f"A setting is wrong:\n{failure}")
    configure_logging(settings.log_level, settings.log_format, service="worker")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except MissingSetting as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
