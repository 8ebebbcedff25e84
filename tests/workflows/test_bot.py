"""The bot's workflow on a real Temporal server: two loops, one task an order, short histories."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from domain.contracts.bots import (
    REMEMBERED_SIGNALS_MAX,
    BotSignal,
    OrderTask,
    SignalAction,
    TradeSignal,
)
from domain.orders import Leg, OrderState
from tests.support.bot_worker import BotStage
from workflows import policies
from workflows.bot import BotWorkflow

pytestmark = pytest.mark.integration


def signals(number: int) -> list[TradeSignal]:
    return [
        TradeSignal(signal_id=uuid4(), action=SignalAction.BUY, symbol="BTC-USD")
        for _ in range(number)
    ]


async def started(stage: BotStage) -> None:
    await stage.signal(BotSignal.UPDATE_SETTINGS)
    await stage.until(lambda: stage.rows.guards > 0 and stage.rows.hunts > 0)


async def test_a_hanging_hunt_does_not_delay_an_exit(stage: BotStage) -> None:
    stage.rows.hunt_holds = asyncio.Event()
    await started(stage)
    exit_order = stage.rows.intend(Leg.STOP)

    await stage.signal(BotSignal.TRIGGER_FIRED)

    await stage.until_placed(exit_order, seconds=3)
    assert stage.rows.hunts == 1, "it still hangs"


async def test_a_failing_hunt_never_delays_an_exit_however_long_the_history(
    stage: BotStage,
) -> None:
    """A hunt that is retried for ever must not keep the run from continuing as new."""
    stage.rows.hunt_fails = True
    await stage.signal(BotSignal.TRADE_SIGNAL, signals(1)[0])
    await stage.until(lambda: stage.rows.hunts > 0)

    for _ in range(policies.HISTORY_EVENTS_MAX // 3):
        exit_order = stage.rows.intend(Leg.STOP)
        await stage.signal(BotSignal.TRIGGER_FIRED)
        await stage.until_placed(exit_order)

    assert sum(stage.rows.placed.values()) == policies.HISTORY_EVENTS_MAX // 3
    stage.rows.hunt_fails = False
    await stage.until(lambda: stage.rows.hunted.total() == 1)


async def test_a_hanging_send_never_delays_another_exit_however_long_the_history(
    stage: BotStage,
) -> None:
    await started(stage)
    stage.rows.place_holds = asyncio.Event()
    entry = stage.rows.intend(Leg.ENTRY)
    await stage.signal(BotSignal.ORDER_UPDATE)
    await stage.until_placed(entry)
    for _ in range(policies.HISTORY_EVENTS_MAX // 3):
        await stage.guard_after(BotSignal.TRIGGER_FIRED)

    exit_order = stage.rows.intend(Leg.STOP)
    await stage.signal(BotSignal.TRIGGER_FIRED)

    await stage.until_placed(exit_order, seconds=3)


async def test_an_order_that_guard_and_hunt_both_name_is_sent_once(stage: BotStage) -> None:
    await started(stage)
    task = OrderTask(order_id=uuid4(), state=OrderState.INTENDED, leg="entry", symbol="BTC-USD")
    stage.rows.place_holds = asyncio.Event()
    stage.rows.from_hunt.append(task)

    await stage.signal(BotSignal.BAR_CLOSED)
    await stage.until_placed(task)
    for _ in range(5):
        await stage.signal(BotSignal.TRIGGER_FIRED)
    await stage.until(lambda: stage.rows.guards >= 3)
    stage.rows.place_holds.set()
    await stage.until(lambda: not stage.rows.orders)

    assert stage.rows.placed[task.order_id] == 1


async def test_an_unknown_order_is_looked_up_until_it_is_final_and_never_sent_again(
    stage: BotStage,
) -> None:
    await started(stage)
    order = stage.rows.intend(Leg.STOP)
    stage.rows.places_as[order.order_id] = OrderState.UNKNOWN
    stage.rows.settles_as[order.order_id] = OrderState.UNKNOWN

    await stage.signal(BotSignal.TRIGGER_FIRED)
    await stage.until(lambda: stage.rows.settled[order.order_id] >= 2)
    stage.rows.settles_as[order.order_id] = OrderState.FILLED
    await stage.until(lambda: not stage.rows.orders)

    assert stage.rows.placed[order.order_id] == 1


async def test_the_guard_looks_again_after_an_entry_has_ended(stage: BotStage) -> None:
    """A stop that came while the entry was on its way waits for this: the fill is to be sold."""
    await started(stage)
    stage.rows.place_holds = asyncio.Event()
    entry = stage.rows.intend(Leg.ENTRY)
    await stage.signal(BotSignal.ORDER_UPDATE)
    await stage.until_placed(entry)
    await stage.guard_after(BotSignal.EMERGENCY_STOP)

    before = stage.rows.guards
    stage.rows.place_holds.set()

    await stage.until(lambda: stage.rows.guards > before, seconds=3)


async def test_a_flood_of_signals_is_handed_on_once_each_across_runs(stage: BotStage) -> None:
    await started(stage)
    first_run = await stage.run_id()
    wishes = signals(REMEMBERED_SIGNALS_MAX)

    for start in range(0, len(wishes), 5):
        part = wishes[start : start + 5]
        await asyncio.gather(
            *(stage.signal(BotSignal.TRADE_SIGNAL, wish) for wish in part),
            stage.signal(BotSignal.TRADE_SIGNAL, part[0]),
        )
    await stage.until(lambda: len(stage.rows.hunted) == len(wishes), seconds=60)
    for wish in wishes[-20:]:
        await stage.signal(BotSignal.TRADE_SIGNAL, wish)
    await stage.signal(BotSignal.BAR_CLOSED)
    await stage.until(lambda: stage.rows.hunts > 1)

    assert set(stage.rows.hunted.values()) == {1}
    assert set(stage.rows.hunted) == {wish.signal_id for wish in wishes}
    assert await stage.run_id() != first_run, "it continued as new on the way"


async def test_signals_that_no_hunt_could_take_survive_into_the_next_run(
    stage: BotStage,
) -> None:
    stage.rows.hunt_fails = True
    wishes = signals(3)
    for wish in wishes:
        await stage.signal(BotSignal.TRADE_SIGNAL, wish)
    first_run = await stage.run_id()
    for _ in range(policies.HISTORY_EVENTS_MAX // 4):
        await stage.guard_after(BotSignal.TRIGGER_FIRED)
    await stage.until_renewed(first_run)

    stage.rows.hunt_fails = False
    await stage.until(lambda: len(stage.rows.hunted) == len(wishes))

    assert set(stage.rows.hunted.values()) == {1}


async def test_histories_stay_short(stage: BotStage) -> None:
    await started(stage)
    runs: dict[str, int] = {}
    for number in range(60):
        await stage.hunt_after(BotSignal.BAR_CLOSED)
        if number % 5 == 0:
            described = await stage.handle.describe()
            runs[described.run_id] = described.history_length

    assert len(runs) >= 3
    assert max(runs.values()) <= policies.HISTORY_EVENTS_MAX + 20


async def test_it_ends_when_stopped_and_flat_and_starts_again_by_a_signal(
    stage: BotStage,
) -> None:
    await started(stage)
    stage.rows.state, stage.rows.finished = "stopped", True

    await stage.signal(BotSignal.STOP)
    await asyncio.wait_for(stage.handle.result(), 10)

    guards = stage.rows.guards
    stage.rows.state, stage.rows.finished = "running", False
    await stage.signal(BotSignal.UPDATE_SETTINGS)
    await stage.until(lambda: stage.rows.guards > guards)
    described = await stage.handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING


async def test_a_stopped_bot_that_is_not_flat_goes_on(stage: BotStage) -> None:
    await started(stage)
    stage.rows.state, stage.rows.finished = "stopped", True
    order = stage.rows.intend(Leg.STOP)
    stage.rows.places_as[order.order_id] = OrderState.UNKNOWN
    stage.rows.settles_as[order.order_id] = OrderState.UNKNOWN

    await stage.signal(BotSignal.STOP)
    await stage.until(lambda: stage.rows.settled[order.order_id] >= 2)
    running = (await stage.handle.describe()).status
    stage.rows.settles_as[order.order_id] = OrderState.FILLED
    await asyncio.wait_for(stage.handle.result(), 15)

    assert running is WorkflowExecutionStatus.RUNNING


async def test_a_signal_to_a_stopped_bot_is_handed_on_before_it_ends(stage: BotStage) -> None:
    stage.rows.state, stage.rows.finished = "stopped", True
    (wish,) = signals(1)

    await stage.signal(BotSignal.TRADE_SIGNAL, wish)
    await asyncio.wait_for(stage.handle.result(), 10)

    assert stage.rows.hunted == {wish.signal_id: 1}


async def test_alerts_are_hunted_until_none_is_left(stage: BotStage) -> None:
    await started(stage)
    stage.rows.hunts_more = 2

    await stage.hunt_after(BotSignal.ALERT_RECEIVED)

    before = stage.rows.hunts
    await stage.until(lambda: stage.rows.hunts_more == 0)
    await stage.until(lambda: stage.rows.hunts >= before + 1)


async def test_the_status_query_tells_where_the_bot_stands(stage: BotStage) -> None:
    await started(stage)
    await stage.until(lambda: stage.rows.guards > 0)
    await asyncio.sleep(0.2)

    status = await stage.handle.query(BotWorkflow.status, rpc_timeout=timedelta(seconds=5))

    assert (status.state, status.venue, status.mode) == ("running", "coinbase", "paper")
    assert (status.open_positions, status.orders_in_flight, status.pending_signals) == (0, 0, 0)
    assert status.doing == "looked"


async def test_operators_find_the_bot_by_its_search_attributes(stage: BotStage) -> None:
    await started(stage)
    await asyncio.sleep(0.2)

    described = await stage.handle.describe()

    found = {
        name: described.typed_search_attributes.get(SearchAttributeKey.for_keyword(name))
        for name in ("NijaUser", "NijaBot", "NijaKind", "NijaVenue", "NijaMode", "NijaState")
    }
    assert found == {
        "NijaUser": str(stage.rows.ref.user_id),
        "NijaBot": str(stage.rows.ref.bot_id),
        "NijaKind": "apex",
        "NijaVenue": "coinbase",
        "NijaMode": "paper",
        "NijaState": "running",
    }
