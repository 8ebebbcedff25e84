"""A worker with the real deletion workflow and a hand-written activity, registered by wire name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from adapters.temporal.accounts import TemporalAccounts
from adapters.temporal.client import TemporalWorkflows
from domain.contracts.accounts import DeletionInput, DeletionStep, deletion_workflow_id
from tests.support.sandbox import sandboxed
from tests.support.scripted import scripted
from workflows.account_deletion import AccountDeletionWorkflow


@dataclass
class FakeErasing:
    """Answers steps in turn; the last one is repeated."""

    steps: list[DeletionStep | Exception]
    asked: list[UUID] = field(default_factory=list)

    @activity.defn(name="accounts.erase")
    async def erase(self, request: DeletionInput) -> DeletionStep:
        self.asked.append(request.user_id)
        return scripted(self.steps, len(self.asked))


@dataclass
class DeletionStage:
    """A started deletion, and what was asked for it."""

    user_id: UUID
    erasing: FakeErasing
    accounts: TemporalAccounts
    handle: WorkflowHandle[AccountDeletionWorkflow, None]


@asynccontextmanager
async def deletion_stage(
    client: Client, *steps: DeletionStep | Exception
) -> AsyncIterator[DeletionStage]:
    """Start a deletion on a task queue of its own."""
    queue, user_id = f"test-{uuid4().hex}", uuid4()
    erasing = FakeErasing(list(steps))
    service = TemporalWorkflows(client.service_client.config.target_host, "default", queue)
    accounts = TemporalAccounts(service, queue)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[AccountDeletionWorkflow],
        activities=[erasing.erase],
        workflow_runner=sandboxed(),
    ):
        await accounts.start_deletion(user_id)
        handle: WorkflowHandle[AccountDeletionWorkflow, None] = client.get_workflow_handle(
            deletion_workflow_id(user_id)
        )
        yield DeletionStage(user_id, erasing, accounts, handle)
