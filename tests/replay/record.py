"""Records the histories that the replay test replays: `python -m tests.replay.record [name ...]`.

Record anew only when an incompatible change of a workflow is meant, and no run of the old code can
be under way any more; otherwise the change must be patched so that these still replay.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from domain.contracts.accounts import DeletionStep
from domain.contracts.bots import BotSignal, OrderTask, SignalAction, TradeSignal
from domain.contracts.exports import ExportResult
from domain.contracts.notifications import (
    REPORT_WORKFLOW,
    DeliverResult,
    ReportInput,
    notify_workflow_id,
)
from domain.orders import Leg, OrderState
from tests.support.alert_worker import ACCEPTED, EXECUTED, PROCESSING, alert_stage
from tests.support.bot_worker import BotStage, bot_stage
from tests.support.deletion_worker import deletion_stage
from tests.support.exits_worker import exits_stage
from tests.support.export_worker import export_stage
from tests.support.notify_worker import notify_stage
from tests.support.stack import temporal_server
from tests.support.switch_worker import FakeSwitch, switch_stage
from workflows import policies

EXIT_PAUSE_SECONDS = 0.7
HISTORIES = Path(__file__).parent / "histories"


async def trade_and_stop(stage: BotStage) -> str:
    """A signal, its entry, an unknown exit that is looked up, a stop, the end."""
    rows = stage.rows
    entry = OrderTask(order_id=uuid4(), state=OrderState.INTENDED, leg=Leg.ENTRY, symbol="BTC-USD")
    rows.from_hunt.append(entry)
    wish = TradeSignal(signal_id=uuid4(), action=SignalAction.BUY, symbol="BTC-USD")
    await stage.signal(BotSignal.TRADE_SIGNAL, wish)
    await stage.until(lambda: rows.placed[entry.order_id] == 1 and not rows.orders)
    way_out = rows.intend(Leg.STOP)
    rows.places_as[way_out.order_id] = OrderState.UNKNOWN
    await stage.signal(BotSignal.TRIGGER_FIRED)
    await stage.until(lambda: not rows.orders)
    rows.state, rows.finished = "stopped", True
    await stage.signal(BotSignal.STOP)
    await asyncio.wait_for(stage.handle.result(), 30)
    return await stage.run_id()


async def long_and_renewed(stage: BotStage) -> str:
    """Bars until the run continues as new."""
    await stage.signal(BotSignal.UPDATE_SETTINGS)
    first = await stage.run_id()
    while await stage.run_id() == first:
        await stage.hunt_after(BotSignal.BAR_CLOSED)
    return first


async def hunt_given_up(stage: BotStage) -> str:
    """A hunt that fails for ever, exits meanwhile, and a run that leaves it to the next one."""
    stage.rows.hunt_fails = True
    await stage.signal(BotSignal.BAR_CLOSED)
    first = await stage.run_id()
    for _ in range(policies.HISTORY_EVENTS_MAX):
        if await stage.run_id() != first:
            break
        way_out = stage.rows.intend(Leg.TARGET_1)
        await stage.signal(BotSignal.TRIGGER_FIRED)
        await stage.until_placed(way_out)
        await asyncio.sleep(EXIT_PAUSE_SECONDS)
    return first


SCENES: Mapping[str, Callable[[BotStage], Awaitable[str]]] = {
    scene.__name__: scene for scene in (trade_and_stop, long_and_renewed, hunt_given_up)
}


async def account_deleted(client: Client) -> WorkflowHistory:
    """Positions leave, a look fails and is repeated, then everything goes."""
    leaving = DeletionStep(wait_seconds=0.1, summary="leaving 1 live positions")
    failing = RuntimeError("the database was away")
    async with deletion_stage(client, leaving, failing, DeletionStep(summary="deleted")) as stage:
        await asyncio.wait_for(stage.handle.result(), 30)
        return await stage.handle.fetch_history()


async def alert_followed(client: Client) -> WorkflowHistory:
    """An alert that is handed over, decided, and traded."""
    async with alert_stage(client) as stage:
        await stage.start(PROCESSING, ACCEPTED, EXECUTED)
        await asyncio.wait_for(stage.handle.result(), 30)
        return await stage.handle.fetch_history()


async def switch_told(client: Client) -> WorkflowHistory:
    """A switch that changes while bots are told, two pages, and a look that is not flat yet."""
    switch = FakeSwitch(pages=2, flatten=True, open_positions=[3], changes_while_telling=1)
    async with switch_stage(client, switch) as stage:
        await stage.tell()
        await asyncio.wait_for(stage.handle.result(), 30)
        return await stage.handle.fetch_history()


async def export_written(client: Client) -> WorkflowHistory:
    """An attempt that fails, and one that writes the file."""
    written = ExportResult(state="ready", rows=3)
    async with export_stage(client, RuntimeError("no room"), written) as stage:
        await asyncio.wait_for(stage.handle.result(), 30)
        return await stage.handle.fetch_history()


async def export_given_up(client: Client) -> WorkflowHistory:
    """A last attempt that fails."""
    async with export_stage(client, ApplicationError("defect", non_retryable=True)) as stage:
        await asyncio.wait_for(stage.handle.result(), 30)
        return await stage.handle.fetch_history()


async def messages_sent(client: Client) -> WorkflowHistory:
    """A look that fails, one that has to come again, and the end."""
    failing, soon = RuntimeError("the database was away"), DeliverResult(wait_seconds=0.1)
    async with notify_stage(client, failing, soon, DeliverResult(summary="1 sent")) as stage:
        await stage.workflows.wake_notifier(stage.user_id)
        handle = client.get_workflow_handle(notify_workflow_id(stage.user_id))
        await asyncio.wait_for(handle.result(), 30)
        return await handle.fetch_history()


async def report_made(client: Client) -> WorkflowHistory:
    """A report as a schedule starts it."""
    async with notify_stage(client) as stage:
        request = ReportInput(user_id=stage.user_id, report="daily_summary")
        handle = await client.start_workflow(
            REPORT_WORKFLOW, request, id=f"report-{stage.user_id}", task_queue=stage.task_queue
        )
        await asyncio.wait_for(handle.result(), 30)
        return await handle.fetch_history()


async def exits_made(client: Client) -> WorkflowHistory:
    """A database that is away, a send that fails, an exit of unknown fate, a repetition."""
    async with exits_stage(client) as stage:
        rows = stage.rows
        rows.failures = 1
        rows.rechecks.append(0.2)
        stop, target = rows.intend(Leg.STOP), rows.intend(Leg.TARGET_1)
        rows.place_fails.add(stop.order_id)
        rows.places_as[target.order_id] = OrderState.UNKNOWN
        await stage.wake()
        await stage.ended()
        return await stage.handle.fetch_history()


OTHER_SCENES: Mapping[str, Callable[[Client], Awaitable[WorkflowHistory]]] = {
    scene.__name__: scene
    for scene in (
        account_deleted,
        alert_followed,
        exits_made,
        export_given_up,
        export_written,
        switch_told,
        messages_sent,
        report_made,
    )
}
"""Of workflows that are no bots."""


async def record(address: str, names: Sequence[str]) -> None:
    """Play the named scenes (all where none is named) and keep their first run's history."""
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    HISTORIES.mkdir(exist_ok=True)
    for name in names or [*SCENES, *OTHER_SCENES]:
        if name in OTHER_SCENES:
            history = await OTHER_SCENES[name](client)
        else:
            async with bot_stage(client) as stage:
                run_id = await SCENES[name](stage)
                handle = client.get_workflow_handle(stage.workflow_id, run_id=run_id)
                history = await handle.fetch_history()
        (HISTORIES / f"{name}.json").write_text(history.to_json(), encoding="utf-8")


if __name__ == "__main__":
    with temporal_server() as server:
        asyncio.run(record(server.address, sys.argv[1:]))
