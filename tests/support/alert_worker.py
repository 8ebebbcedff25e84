"""A worker with the real alert workflow and a hand-written look, registered by wire name."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from adapters.temporal.alerts import TemporalAlerts
from domain.contracts.alerts import SignalInput, SignalResult, signal_workflow_id
from tests.support.temporal_client import connected
from workflows.signal import SignalWorkflow

PROCESSING = SignalResult(wait_seconds=0.05, state="processing")
ACCEPTED = SignalResult(wait_seconds=0.05, state="accepted", reason="outside_signal")
EXECUTED = SignalResult(state="executed", reason="outside_signal")


@dataclass
class AlertStage:
    """One alert; its looks find these answers in turn, the last one again and again."""

    client: Client
    task_queue: str
    answers: deque[SignalResult | Exception] = field(default_factory=deque)
    request: SignalInput = field(
        default_factory=lambda: SignalInput(user_id=uuid4(), alert_id=uuid4())
    )
    looks: int = 0

    @activity.defn(name="signals.follow")
    async def follow(self, request: SignalInput) -> SignalResult:
        assert request == self.request
        self.looks += 1
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def start(self, *answers: SignalResult | Exception, delay_seconds: float = 0) -> None:
        """Start following, by the product's own client."""
        self.answers = deque(answers)
        workflows = connected(self.client, self.task_queue)
        await TemporalAlerts(workflows, self.task_queue).follow_alert(
            self.request.user_id, self.request.alert_id, delay_seconds=delay_seconds
        )

    @property
    def workflow_id(self) -> str:
        return signal_workflow_id(self.request.alert_id)

    @property
    def handle(self) -> WorkflowHandle[SignalWorkflow, SignalResult]:
        return self.client.get_workflow_handle_for(SignalWorkflow.run, self.workflow_id)


@asynccontextmanager
async def alert_stage(client: Client) -> AsyncIterator[AlertStage]:
    """Run a worker on a task queue of its own."""
    queue: UUID = uuid4()
    stage = AlertStage(client, f"test-{queue}")
    async with Worker(
        client, task_queue=stage.task_queue, workflows=[SignalWorkflow], activities=[stage.follow]
    ):
        yield stage
