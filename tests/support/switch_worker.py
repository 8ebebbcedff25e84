"""A worker with the real kill switch workflow and hand-written activities, by wire name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from adapters.temporal.kill_switches import TemporalKillSwitches
from domain.contracts.kill_switches import (
    KillSwitchCounts,
    KillSwitchEnd,
    KillSwitchLook,
    KillSwitchPage,
    KillSwitchPageInput,
    KillSwitchRound,
    kill_switch_workflow_id,
)
from tests.support.sandbox import sandboxed
from tests.support.temporal_client import connected
from workflows.kill_switch import KillSwitchWorkflow


@dataclass
class FakeSwitch:
    """What the rows of a switch would say, and what was reported of it."""

    switch_id: UUID = field(default_factory=uuid4)
    revision: int = 1
    handled: int = 0
    pages: int = 1
    flatten: bool = False
    open_positions: list[int] = field(default_factory=list)
    changes_while_telling: int = 0
    told: list[UUID | None] = field(default_factory=list)
    ends: list[KillSwitchEnd] = field(default_factory=list)


class FakeSwitchActivities:
    """Acts on a `FakeSwitch`, as the service acts on the database."""

    def __init__(self, switch: FakeSwitch) -> None:
        self._switch = switch

    @activity.defn(name="kill_switch.begin")
    async def begin(self, switch_id: UUID) -> KillSwitchRound:
        switch = self._switch
        return KillSwitchRound(
            switch_id=switch_id,
            revision=switch.revision,
            is_due=switch.handled < switch.revision,
            flatten=switch.flatten,
        )

    @activity.defn(name="kill_switch.tell")
    async def tell(self, request: KillSwitchPageInput) -> KillSwitchPage:
        switch = self._switch
        switch.told.append(request.after)
        if switch.changes_while_telling:
            switch.changes_while_telling -= 1
            switch.revision += 1
            return KillSwitchPage(superseded=True)
        number = 0 if request.after is None else request.after.int
        last = UUID(int=number + 1) if number + 1 < switch.pages else None
        return KillSwitchPage(last=last, counts=KillSwitchCounts(bots=100, untold=1))

    @activity.defn(name="kill_switch.look")
    async def look(self, due: KillSwitchRound) -> KillSwitchLook:
        left = self._switch.open_positions
        return KillSwitchLook(open_positions=left.pop(0) if left else 0)

    @activity.defn(name="kill_switch.finish")
    async def finish(self, end: KillSwitchEnd) -> None:
        self._switch.ends.append(end)
        self._switch.handled = max(self._switch.handled, end.round.revision)


@dataclass(frozen=True)
class SwitchStage:
    """A worker that tells of one switch."""

    client: Client
    switch: FakeSwitch
    task_queue: str

    @property
    def handle(self) -> WorkflowHandle[KillSwitchWorkflow, None]:
        """The workflow of the switch."""
        return self.client.get_workflow_handle_for(
            KillSwitchWorkflow.run, kill_switch_workflow_id(self.switch.switch_id)
        )

    async def tell(self) -> None:
        """Start or nudge it, by the product's own client."""
        workflows = connected(self.client, self.task_queue)
        await TemporalKillSwitches(workflows, self.task_queue).tell_of_switch(self.switch.switch_id)


@asynccontextmanager
async def switch_stage(client: Client, switch: FakeSwitch) -> AsyncIterator[SwitchStage]:
    """Run a worker on a task queue of its own; the workflow is terminated at the end."""
    stage = SwitchStage(client, switch, task_queue=f"test-{switch.switch_id}")
    fakes = FakeSwitchActivities(switch)
    async with Worker(
        client,
        task_queue=stage.task_queue,
        workflows=[KillSwitchWorkflow],
        activities=[fakes.begin, fakes.tell, fakes.look, fakes.finish],
        workflow_runner=sandboxed(),
    ):
        try:
            yield stage
        finally:
            with suppress(RPCError):  # it may have ended by itself
                await stage.handle.terminate("the test is over")
