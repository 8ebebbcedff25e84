"""Delivering messages to bot workflows and keeping venue watches running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from domain.contracts.bots import (
    BOT_WORKFLOW,
    BotInput,
    BotRef,
    BotSignal,
    Nudge,
    TradeSignal,
    WatchInput,
    bot_workflow_id,
)
from domain.contracts.exits import (
    EXITS_WORKFLOW,
    SIGNAL_DUE,
    ExitsInput,
    exits_task_queue,
    exits_workflow_id,
)
from domain.markets import VenueKey
from domain.ports import WorkflowServiceRefused, WorkflowServiceUnavailable

CALL_TIMEOUT = timedelta(seconds=5)
"""Of a call, and of `answering` in all: the SDK gives each of its own repetitions as long."""

HEALTH_TIMEOUT = timedelta(seconds=2)
EXITS_TASK_TIMEOUT = timedelta(seconds=3)
"""How long a workflow task of a killed exits worker keeps the next one waiting."""

_UNAVAILABLE = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    }
)


class TemporalWorkflows:
    """domain.ports.WorkflowService on a Temporal client that connects when first used."""

    def __init__(
        self, address: str, namespace: str, task_queue: str, runtime: Runtime | None = None
    ) -> None:
        self._address = address
        self._namespace = namespace
        self._task_queue = task_queue
        self._runtime = runtime
        self._client: Client | None = None
        self._connecting: asyncio.Task[Client] | None = None

    async def client(self) -> Client:
        """The connected client; callers share an attempt to connect.

        Raises:
            WorkflowServiceUnavailable: the server cannot be reached.
        """
        if self._client is not None:
            return self._client
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            # Where every caller has given up, nobody asks what became of it.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Client:
        try:
            self._client = await asyncio.wait_for(
                Client.connect(
                    self._address,
                    namespace=self._namespace,
                    data_converter=pydantic_data_converter,
                    runtime=self._runtime,
                ),
                CALL_TIMEOUT.total_seconds(),
            )
        except (RuntimeError, RPCError, TimeoutError) as failure:
            raise WorkflowServiceUnavailable("Temporal cannot be reached") from failure
        finally:
            self._connecting = None
        return self._client

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[Client]:
        """The client for one call, whose failures are told as the port has them.

        Raises:
            WorkflowServiceUnavailable: no answer within CALL_TIMEOUT.
            WorkflowServiceRefused: the server did not take this call.
        """
        try:
            async with asyncio.timeout(CALL_TIMEOUT.total_seconds()):
                yield await self.client()
        except TimeoutError as failure:
            raise WorkflowServiceUnavailable("Temporal did not answer in time") from failure
        except RPCError as failure:
            if failure.status in _UNAVAILABLE:
                raise WorkflowServiceUnavailable("Temporal did not answer") from failure
            raise WorkflowServiceRefused(f"Temporal: {failure.message}") from failure

    async def is_available(self) -> bool:
        """Whether the server answers a health check at present."""
        try:
            client = await self.client()
            return await client.service_client.check_health(timeout=HEALTH_TIMEOUT)
        except (WorkflowServiceUnavailable, RPCError):
            return False

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        """Signal-with-start: one call makes sure the workflow runs and has the message."""
        ref = BotRef(user_id=user_id, bot_id=bot_id)
        async with self.answering() as client:
            await client.start_workflow(
                BOT_WORKFLOW,
                BotInput(bot=ref),
                id=bot_workflow_id(bot_id),
                task_queue=self._task_queue,
                start_signal=signal.value,
                start_signal_args=[message],
                search_attributes=_attributes(ref, "starting"),
                static_summary="trading bot",
                rpc_timeout=CALL_TIMEOUT,
            )

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Signal-with-start on the exits worker's own task queue."""
        ref = BotRef(user_id=user_id, bot_id=bot_id)
        async with self.answering() as client:
            await client.start_workflow(
                EXITS_WORKFLOW,
                ExitsInput(bot=ref),
                id=exits_workflow_id(bot_id),
                task_queue=exits_task_queue(self._task_queue),
                start_signal=SIGNAL_DUE,
                start_signal_args=[Nudge()],
                task_timeout=EXITS_TASK_TIMEOUT,
                search_attributes=_attributes(ref, "exiting"),
                static_summary="exits of a bot",
                rpc_timeout=CALL_TIMEOUT,
            )

    async def ensure_watch(self, key: VenueKey) -> None:
        """Start a venue's watch unless it runs."""
        with suppress(WorkflowAlreadyStartedError):
            async with self.answering() as client:
                await client.start_workflow(
                    "watch",
                    WatchInput(venue=key.venue, realm=key.realm.value),
                    id=f"watch:{key}",
                    task_queue=exits_task_queue(self._task_queue),
                    task_timeout=EXITS_TASK_TIMEOUT,
                    static_summary=f"prices of {key.venue}",
                    rpc_timeout=CALL_TIMEOUT,
                )


def _attributes(ref: BotRef, state: str) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword("NijaUser"), str(ref.user_id)),
            SearchAttributePair(SearchAttributeKey.for_keyword("NijaBot"), str(ref.bot_id)),
            SearchAttributePair(SearchAttributeKey.for_keyword("NijaState"), state),
        ]
    )
