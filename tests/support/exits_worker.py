"""A worker with the real exits workflow and hand-written activities, registered by wire name."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from domain.contracts.bots import BotRef
from domain.contracts.exits import ExitsDue, exits_task_queue, exits_workflow_id
from tests.support.order_rows import FakeOrderActivities, OrderRows
from tests.support.sandbox import sandboxed
from tests.support.temporal_client import connected
from workflows.exits import ExitWorkflow

WAIT_SECONDS = 15.0


@dataclass
class ExitRows(OrderRows):
    """The same of exits, with what is found when they are read."""

    rechecks: deque[float] = field(default_factory=deque)
    failures: int = 0
    looks: int = 0


class FakeExitActivities(FakeOrderActivities):
    """Acts on `ExitRows`, as the services act on the database."""

    def __init__(self, rows: ExitRows) -> None:
        super().__init__(rows)
        self._rows = rows

    @activity.defn(name="exits.make_due")
    async def make_due(self, bot: BotRef) -> ExitsDue:
        rows = self._rows
        rows.looks += 1
        if rows.failures:
            rows.failures -= 1
            raise RuntimeError("the database is away")
        recheck = rows.rechecks.popleft() if rows.rechecks else None
        return ExitsDue(orders=tuple(rows.orders.values()), recheck_seconds=recheck)


@dataclass(frozen=True)
class ExitsStage:
    """A worker that carries out the exits of one bot against fake rows."""

    client: Client
    rows: ExitRows
    task_queue: str

    @property
    def handle(self) -> WorkflowHandle[ExitWorkflow, None]:
        """The latest run, whichever it is."""
        return self.client.get_workflow_handle_for(
            ExitWorkflow.run, exits_workflow_id(self.rows.ref.bot_id)
        )

    async def wake(self) -> None:
        """Signal-with-start, by the product's own client."""
        workflows = connected(self.client, self.task_queue)
        await workflows.wake_exits(self.rows.ref.user_id, self.rows.ref.bot_id)

    async def ended(self) -> None:
        """Wait until nothing is due any more."""
        await asyncio.wait_for(self.handle.result(), WAIT_SECONDS)

    async def until(self, is_so: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not is_so():
            assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def exits_stage(client: Client) -> AsyncIterator[ExitsStage]:
    """Run a worker on a task queue of its own; its workflow is terminated at the end."""
    rows = ExitRows()
    stage = ExitsStage(client, rows, task_queue=f"test-{rows.ref.bot_id}")
    fakes = FakeExitActivities(rows)
    async with Worker(
        client,
        task_queue=exits_task_queue(stage.task_queue),
        workflows=[ExitWorkflow],
        activities=[fakes.make_due, fakes.place, fakes.settle],
        workflow_runner=sandboxed(),
    ):
        try:
            yield stage
        finally:
            if rows.place_holds is not None:
                rows.place_holds.set()
            with suppress(RPCError):  # it may have ended by itself
                await stage.handle.terminate("the test is over")
