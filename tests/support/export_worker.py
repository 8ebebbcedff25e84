"""A worker with the real export workflow and hand-written activities, registered by wire name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from adapters.temporal.client import TemporalWorkflows
from adapters.temporal.exports import TemporalExports
from domain.contracts.exports import ExportInput, ExportResult, export_workflow_id
from tests.support.sandbox import sandboxed
from tests.support.scripted import scripted
from workflows.export import ExportWorkflow


@dataclass
class FakeWriting:
    """Answers attempts in turn; the last answer is repeated."""

    answers: list[ExportResult | Exception]
    asked: list[UUID] = field(default_factory=list)
    given_up: list[UUID] = field(default_factory=list)

    @activity.defn(name="exports.write")
    async def write(self, request: ExportInput) -> ExportResult:
        self.asked.append(request.export_id)
        return scripted(self.answers, len(self.asked))

    @activity.defn(name="exports.give_up")
    async def give_up(self, request: ExportInput) -> ExportResult:
        self.given_up.append(request.export_id)
        return ExportResult(state="failed")


@dataclass
class ExportStage:
    """A started export, and what was asked for it."""

    export_id: UUID
    user_id: UUID
    writing: FakeWriting
    exports: TemporalExports
    handle: WorkflowHandle[ExportWorkflow, ExportResult]


@asynccontextmanager
async def export_stage(
    client: Client, *answers: ExportResult | Exception
) -> AsyncIterator[ExportStage]:
    """Start an export on a task queue of its own."""
    queue, export_id, user_id = f"test-{uuid4().hex}", uuid4(), uuid4()
    writing = FakeWriting(list(answers))
    service = TemporalWorkflows(client.service_client.config.target_host, "default", queue)
    exports = TemporalExports(service, queue)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[ExportWorkflow],
        activities=[writing.write, writing.give_up],
        workflow_runner=sandboxed(),
    ):
        await exports.start_export(user_id, export_id)
        handle: WorkflowHandle[ExportWorkflow, ExportResult] = client.get_workflow_handle(
            export_workflow_id(export_id), result_type=ExportResult
        )
        yield ExportStage(export_id, user_id, writing, exports, handle)
