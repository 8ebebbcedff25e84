"""What the workflow service's failures are to those who call it: the port's exceptions, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import client as temporal_client
from adapters.temporal.alerts import TemporalAlerts
from adapters.temporal.client import TemporalWorkflows
from adapters.temporal.exports import TemporalExports
from adapters.temporal.kill_switches import TemporalKillSwitches
from domain.contracts.bots import BotSignal, Nudge
from domain.markets import Realm, VenueKey
from domain.ports import WorkflowServiceRefused, WorkflowServiceUnavailable

Call = Callable[[TemporalWorkflows], Awaitable[None]]

CALLS: dict[str, Call] = {
    "exits": lambda it: it.wake_exits(uuid4(), uuid4()),
    "bot": lambda it: it.signal_bot(uuid4(), uuid4(), BotSignal.STOP, Nudge()),
    "watch": lambda it: it.ensure_watch(VenueKey("coinbase", Realm.SIMULATED)),
    "alert": lambda it: TemporalAlerts(it, "q").follow_alert(uuid4(), uuid4(), delay_seconds=0),
    "export": lambda it: TemporalExports(it, "q").start_export(uuid4(), uuid4()),
    "switch": lambda it: TemporalKillSwitches(it, "q").tell_of_switch(uuid4()),
}
STARTED_ONCE = {"watch", "alert", "export"}


class StandInClient:
    """Starts no workflow, for the reason it is given; without one it never answers."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    async def start_workflow(self, *_: object, **__: object) -> None:
        if self._failure is None:
            await asyncio.Event().wait()
        else:
            raise self._failure


def workflows_on(failure: Exception | None) -> TemporalWorkflows:
    workflows = TemporalWorkflows("", "default", "q")
    workflows._client = StandInClient(failure)  # type: ignore[assignment]
    return workflows


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_refusal_is_no_absence(call: Call) -> None:
    refused = RPCError("too many signals", RPCStatusCode.INVALID_ARGUMENT, b"")

    with pytest.raises(WorkflowServiceRefused, match="too many signals"):
        await call(workflows_on(refused))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_an_absence_is_no_refusal(call: Call) -> None:
    away = RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    with pytest.raises(WorkflowServiceUnavailable) as told:
        await call(workflows_on(away))

    assert not isinstance(told.value, WorkflowServiceRefused)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_call_has_one_deadline_whatever_the_client_repeats(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_client, "CALL_TIMEOUT", timedelta(seconds=0.1))

    with pytest.raises(WorkflowServiceUnavailable):
        await asyncio.wait_for(call(workflows_on(None)), 2)


@pytest.mark.parametrize("name", STARTED_ONCE)
async def test_a_workflow_that_runs_already_is_well(name: str) -> None:
    await CALLS[name](workflows_on(WorkflowAlreadyStartedError("it", "type")))


async def test_callers_share_an_attempt_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    async def connect(*_: object, **__: object) -> Client:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.1)
        raise RuntimeError("nobody listens")

    monkeypatch.setattr(Client, "connect", connect)
    workflows = TemporalWorkflows("", "default", "q")

    ended = await asyncio.gather(
        *(workflows.wake_exits(uuid4(), uuid4()) for _ in range(20)), return_exceptions=True
    )

    assert attempts == 1
    assert all(isinstance(it, WorkflowServiceUnavailable) for it in ended)


async def test_a_caller_that_gives_up_keeps_no_other_from_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: object = StandInClient(None)

    async def connect(*_: object, **__: object) -> object:
        await asyncio.sleep(0.1)
        return made

    monkeypatch.setattr(Client, "connect", connect)
    workflows = TemporalWorkflows("", "default", "q")
    hasty = asyncio.create_task(workflows.client())
    await asyncio.sleep(0)
    patient = asyncio.create_task(workflows.client())
    await asyncio.sleep(0)

    hasty.cancel()

    assert await patient is made
