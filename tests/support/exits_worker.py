"""A worker with the real exits workflow and hand-written activities, registered by wire name."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.beating import heartbeating
from adapters.temporal.client import TemporalWorkflows
from domain.contracts.bots import BotRef, OrderInput, OrderResult, OrderTask
from domain.contracts.exits import ExitsDue, exits_task_queue, exits_workflow_id
from domain.orders import Leg, OrderState
from tests.support.sandbox import sandboxed
from workflows.exits import ExitWorkflow

WAIT_SECONDS = 15.0
KEYS_PAUSE = 3_600.0


@dataclass
class ExitRows:
    """What the database would hold of one bot's exits, and what was asked of it."""

    ref: BotRef = field(default_factory=lambda: BotRef(user_id=uuid4(), bot_id=uuid4()))
    orders: dict[UUID, OrderTask] = field(default_factory=dict)
    rechecks: deque[float] = field(default_factory=deque)
    failures: int = 0
    places_as: dict[UUID, OrderState] = field(default_factory=dict)
    settles_as: dict[UUID, OrderState] = field(default_factory=dict)
    refuses_keys: set[UUID] = field(default_factory=set)
    place_fails: set[UUID] = field(default_factory=set)
    place_holds: asyncio.Event | None = None
    placed: Counter[UUID] = field(default_factory=Counter)
    settled: Counter[UUID] = field(default_factory=Counter)
    looks: int = 0

    def intend(self, leg: Leg = Leg.STOP) -> OrderTask:
        """An exit order that the next reading of the rows lists."""
        task = OrderTask(
            order_id=uuid4(), state=OrderState.INTENDED, leg=leg.value, symbol="BTC-USD"
        )
        self.orders[task.order_id] = task
        return task


class FakeExitActivities:
    """Acts on `ExitRows`, as the services act on the database."""

    def __init__(self, rows: ExitRows) -> None:
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

    @activity.defn(name="orders.place")
    async def place(self, request: OrderInput) -> OrderResult:
        rows = self._rows
        rows.placed[request.order_id] += 1
        async with heartbeating():
            if rows.place_holds is not None:
                await rows.place_holds.wait()
        if request.order_id in rows.place_fails:
            rows.place_fails.discard(request.order_id)
            raise ApplicationError("the venue cannot be reached")
        return self._end(request, rows.places_as.get(request.order_id, OrderState.FILLED))

    @activity.defn(name="orders.settle")
    async def settle(self, request: OrderInput) -> OrderResult:
        self._rows.settled[request.order_id] += 1
        if request.order_id in self._rows.refuses_keys:
            return OrderResult(state=OrderState.UNKNOWN, keys_refused_seconds=KEYS_PAUSE)
        return self._end(request, self._rows.settles_as.get(request.order_id, OrderState.FILLED))

    def _end(self, request: OrderInput, state: OrderState) -> OrderResult:
        known = self._rows.orders[request.order_id]
        if state.is_final:
            del self._rows.orders[request.order_id]
        else:
            self._rows.orders[request.order_id] = known.model_copy(update={"state": state})
        return OrderResult(state=state)


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
        workflows = TemporalWorkflows("", "default", self.task_queue)
        workflows._client = self.client
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
