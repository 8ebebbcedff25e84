"""The exits workflow on a real Temporal server, against hand-written rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from domain.orders import Leg, OrderState
from tests.support.exits_worker import ExitsStage, exits_stage
from workflows import policies

pytestmark = pytest.mark.integration


@pytest.fixture
async def stage(client: Client) -> AsyncIterator[ExitsStage]:
    async with exits_stage(client) as it:
        yield it


async def test_every_due_exit_is_sent_once_and_the_workflow_ends(stage: ExitsStage) -> None:
    exits = [stage.rows.intend(leg) for leg in (Leg.STOP, Leg.TARGET_1, Leg.FLATTEN)]

    await stage.wake()
    await stage.ended()

    assert {stage.rows.placed[exit_.order_id] for exit_ in exits} == {1}
    assert not stage.rows.settled


async def test_nothing_due_ends_at_once(stage: ExitsStage) -> None:
    await stage.wake()
    await stage.ended()

    assert stage.rows.looks == 1


async def test_an_unknown_exit_is_looked_up_until_it_is_final_and_never_sent_again(
    stage: ExitsStage,
) -> None:
    exit_ = stage.rows.intend()
    stage.rows.places_as[exit_.order_id] = OrderState.UNKNOWN
    stage.rows.settles_as[exit_.order_id] = OrderState.UNKNOWN

    await stage.wake()
    await stage.until(lambda: stage.rows.settled[exit_.order_id] >= 2)
    stage.rows.settles_as[exit_.order_id] = OrderState.FILLED
    await stage.ended()

    assert stage.rows.placed[exit_.order_id] == 1


async def test_a_pause_for_refused_keys_ends_with_other_keys_and_keeps_nothing_else(
    stage: ExitsStage,
) -> None:
    exit_ = stage.rows.intend()
    stage.rows.places_as[exit_.order_id] = OrderState.UNKNOWN
    stage.rows.refuses_keys.add(exit_.order_id)
    await stage.wake()
    await stage.until(lambda: stage.rows.settled[exit_.order_id] == 1)

    other = stage.rows.intend(Leg.TARGET_1)
    await stage.wake()
    await stage.until(lambda: stage.rows.placed[other.order_id] == 1)
    await asyncio.sleep(1.5)
    asked = stage.rows.settled[exit_.order_id]
    replaced = stage.rows.orders[exit_.order_id].model_copy(update={"keys": 2})
    stage.rows.orders[exit_.order_id] = replaced
    stage.rows.refuses_keys.clear()
    await stage.wake()
    await stage.ended()

    assert (asked, stage.rows.settled[exit_.order_id]) == (1, 2)


async def test_a_send_that_never_left_is_tried_again(stage: ExitsStage) -> None:
    """The row still says intended: a send that fails before its mark was none."""
    exit_ = stage.rows.intend()
    stage.rows.place_fails.add(exit_.order_id)

    await stage.wake()
    await stage.ended()

    assert stage.rows.placed[exit_.order_id] == 2
    assert not stage.rows.orders


async def test_a_hanging_send_keeps_no_other_exit_waiting(stage: ExitsStage) -> None:
    stage.rows.place_holds = asyncio.Event()
    hanging = stage.rows.intend()
    await stage.wake()
    await stage.until(lambda: stage.rows.placed[hanging.order_id] == 1)

    other = stage.rows.intend(Leg.TARGET_1)
    await stage.wake()

    await stage.until(lambda: stage.rows.placed[other.order_id] == 1, seconds=3)
    assert stage.rows.placed[hanging.order_id] == 1
    stage.rows.place_holds.set()
    await stage.ended()


async def test_an_exit_to_be_repeated_is_waited_for(stage: ExitsStage) -> None:
    stage.rows.rechecks.append(0.5)
    await stage.wake()
    await stage.until(lambda: stage.rows.looks == 1)

    exit_ = stage.rows.intend()
    await stage.ended()

    assert stage.rows.placed[exit_.order_id] == 1


async def test_a_database_that_is_away_is_asked_until_it_answers(stage: ExitsStage) -> None:
    stage.rows.failures = 3
    exit_ = stage.rows.intend()

    await stage.wake()
    await stage.ended()

    assert stage.rows.placed[exit_.order_id] == 1


async def test_a_long_history_continues_as_new_and_loses_nothing(stage: ExitsStage) -> None:
    stage.rows.place_holds = asyncio.Event()
    first = stage.rows.intend()
    await stage.wake()
    first_run = (await stage.handle.describe()).run_id
    for _ in range(policies.HISTORY_EVENTS_MAX // 3):
        before = stage.rows.looks
        await stage.wake()
        await stage.until(lambda before=before: stage.rows.looks > before)  # type: ignore[misc]

    second = stage.rows.intend(Leg.TARGET_1)
    await stage.wake()
    await stage.until(lambda: stage.rows.placed[second.order_id] == 1, seconds=3)
    stage.rows.place_holds.set()
    await stage.until(lambda: not stage.rows.orders)
    await stage.ended()

    assert (await stage.handle.describe()).run_id != first_run
    assert stage.rows.placed[first.order_id] == stage.rows.placed[second.order_id] == 1


async def test_operators_find_each_send_under_its_bot(stage: ExitsStage) -> None:
    stage.rows.intend()
    await stage.wake()
    await stage.ended()

    described = await stage.handle.describe()
    history = await stage.handle.fetch_history()

    bot = SearchAttributeKey.for_keyword("NijaBot")
    assert described.status == WorkflowExecutionStatus.COMPLETED
    assert described.typed_search_attributes[bot] == str(stage.rows.ref.bot_id)
    summaries = [event.user_metadata.summary.data.decode() for event in history.events]
    assert '"send stop BTC-USD"' in summaries
