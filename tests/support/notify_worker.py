"""A worker with the real notification workflows and hand-written activities."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from adapters.temporal.notifications import TemporalNotifications
from domain.contracts.notifications import DeliverResult, NotifyInput, ReportInput, ReportResult
from tests.support.sandbox import sandboxed
from tests.support.scripted import scripted
from tests.support.temporal_client import connected
from workflows.notify import NotifyWorkflow, ReportWorkflow


@dataclass
class FakeDelivery:
    """Answers looks in turn; the last answer is repeated."""

    results: list[DeliverResult | Exception]
    looks: int = 0
    reported: list[ReportInput] = field(default_factory=list)

    @activity.defn(name="notify.deliver")
    async def deliver(self, request: NotifyInput) -> DeliverResult:
        self.looks += 1
        return scripted(self.results, self.looks)

    @activity.defn(name="notify.report")
    async def report(self, request: ReportInput) -> ReportResult:
        self.reported.append(request)
        return ReportResult(summary="made")


@dataclass
class NotifyStage:
    """A worker on a task queue of its own, and the product's own way to talk to it."""

    client: Client
    user_id: UUID
    delivery: FakeDelivery
    workflows: TemporalNotifications
    task_queue: str


@asynccontextmanager
async def notify_stage(
    client: Client, *results: DeliverResult | Exception
) -> AsyncIterator[NotifyStage]:
    """Run a worker whose looks end as told."""
    queue, delivery = f"test-{uuid4().hex}", FakeDelivery(list(results))
    shared = connected(client, queue)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[NotifyWorkflow, ReportWorkflow],
        activities=[delivery.deliver, delivery.report],
        workflow_runner=sandboxed(),
    ):
        yield NotifyStage(client, uuid4(), delivery, TemporalNotifications(shared, queue), queue)
