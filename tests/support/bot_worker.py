"""A worker with the real bot workflow and hand-written activities, registered by wire name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.beating import heartbeating
from domain.contracts.bots import (
    BotRef,
    BotSignal,
    GuardResult,
    HuntInput,
    HuntResult,
    Nudge,
    OrderTask,
    TradeSignal,
    bot_workflow_id,
)
from tests.support.order_rows import FakeOrderActivities, OrderRows
from tests.support.sandbox import sandboxed
from tests.support.temporal_client import connected
from workflows.bot import BotWorkflow

WAIT_SECONDS = 15.0


@dataclass
class FakeRows(OrderRows):
    """The same with what a bot's guard and hunt find and leave."""

    state: str = "running"
    finished: bool = False
    from_hunt: list[OrderTask] = field(default_factory=list)
    hunted: Counter[UUID] = field(default_factory=Counter)
    guards: int = 0
    hunts: int = 0
    hunts_more: int = 0
    hunt_fails: bool = False
    hunt_holds: asyncio.Event | None = None


class FakeActivities(FakeOrderActivities):
    """Acts on `FakeRows`, as the services act on the database."""

    def __init__(self, rows: FakeRows) -> None:
        super().__init__(rows)
        self._rows = rows

    @activity.defn(name="bots.guard")
    async def guard(self, bot: BotRef) -> GuardResult:
        rows = self._rows
        rows.guards += 1
        return GuardResult(
            orders=tuple(rows.orders.values()),
            state=rows.state,
            venue="coinbase",
            mode="paper",
            open_positions=len(rows.orders),
            finished=rows.finished and not rows.orders,
            may_enter=rows.state == "running",
        )

    @activity.defn(name="bots.hunt")
    async def hunt(self, request: HuntInput) -> HuntResult:
        rows = self._rows
        rows.hunts += 1
        async with heartbeating():
            if rows.hunt_fails:
                raise RuntimeError("the venue does not answer")
            if rows.hunt_holds is not None:
                await rows.hunt_holds.wait()
        rows.hunted.update(signal.signal_id for signal in request.signals)
        orders, rows.from_hunt = tuple(rows.from_hunt), []
        for task in orders:
            rows.orders[task.order_id] = task
        more, rows.hunts_more = rows.hunts_more > 0, max(0, rows.hunts_more - 1)
        return HuntResult(
            orders=orders, more=more, decisions=len(request.signals), summary="looked"
        )


@dataclass(frozen=True)
class BotStage:
    """A worker that runs one bot against fake rows."""

    client: Client
    rows: FakeRows
    task_queue: str

    @property
    def workflow_id(self) -> str:
        return bot_workflow_id(self.rows.ref.bot_id)

    @property
    def handle(self) -> WorkflowHandle[BotWorkflow, None]:
        """The latest run, whichever it is."""
        return self.client.get_workflow_handle_for(BotWorkflow.run, self.workflow_id)

    async def signal(self, signal: BotSignal, message: Nudge | TradeSignal | None = None) -> None:
        """Signal-with-start, by the product's own client."""
        await connected(self.client, self.task_queue).signal_bot(
            self.rows.ref.user_id, self.rows.ref.bot_id, signal, message or Nudge()
        )

    async def until(self, is_so: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not is_so():
            assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
            await asyncio.sleep(0.01)

    async def until_placed(self, order: OrderTask, seconds: float = WAIT_SECONDS) -> None:
        await self.until(lambda: self.rows.placed[order.order_id] == 1, seconds)

    async def guard_after(self, signal: BotSignal) -> None:
        """Signal, and wait for a guard that begins after it."""
        before = self.rows.guards
        await self.signal(signal)
        await self.until(lambda: self.rows.guards > before)

    async def hunt_after(self, signal: BotSignal) -> None:
        """Signal, and wait for a hunt that begins after it."""
        before = self.rows.hunts
        await self.signal(signal)
        await self.until(lambda: self.rows.hunts > before)

    async def run_id(self) -> str:
        """The run that goes on at present."""
        return str((await self.handle.describe()).run_id)

    async def until_renewed(self, first_run: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait for a run after `first_run`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while await self.run_id() == first_run:
            assert asyncio.get_running_loop().time() < deadline, "it did not continue as new"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def bot_stage(client: Client) -> AsyncIterator[BotStage]:
    """Run a worker on a task queue of its own; its bot is terminated at the end."""
    rows = FakeRows()
    stage = BotStage(client, rows, task_queue=f"test-{rows.ref.bot_id}")
    fakes = FakeActivities(rows)
    async with Worker(
        client,
        task_queue=stage.task_queue,
        workflows=[BotWorkflow],
        activities=[fakes.guard, fakes.hunt, fakes.place, fakes.settle],
        workflow_runner=sandboxed(),
    ):
        try:
            yield stage
        finally:
            for held in (rows.hunt_holds, rows.place_holds):
                if held is not None:
                    held.set()
            with suppress(RPCError):  # it may have ended by itself
                await stage.handle.terminate("the test is over")
