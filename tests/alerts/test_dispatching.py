"""Handing on from the process that took alerts in: quickly, once a bot, and never in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from domain.alerts import TakenAlert
from domain.contracts.bots import BotSignal
from services.alerts.dispatching import (
    FOLLOW_DELAY_SECONDS,
    STORM,
    STORM_DELAY_SECONDS,
    WAITING_MAX,
    AlertDispatch,
)
from tests.alerts.harness import FakeAlertWorkflows
from tests.support.engine import FakeWorkflows


@pytest.fixture
def bots() -> FakeWorkflows:
    return FakeWorkflows()


@pytest.fixture
def followers() -> FakeAlertWorkflows:
    return FakeAlertWorkflows()


@pytest.fixture
async def dispatch(
    bots: FakeWorkflows, followers: FakeAlertWorkflows
) -> AsyncIterator[AlertDispatch]:
    it = AlertDispatch(bots, followers, delay_seconds=0)
    yield it
    await it.close()


async def test_a_storm_tells_each_bot_once_and_follows_every_alert(
    dispatch: AlertDispatch, bots: FakeWorkflows, followers: FakeAlertWorkflows
) -> None:
    owners = [(uuid4(), uuid4()) for _ in range(5)]
    alerts = [TakenAlert(uuid4(), *owners[number % 5]) for number in range(100)]

    for alert in alerts:
        dispatch.submit(alert)
    await dispatch.drained()

    told = [(bot_id, BotSignal.ALERT_RECEIVED) for _user_id, bot_id in owners]
    assert sorted(bots.told) == sorted(told)
    assert followers.followed == [alert.alert_id for alert in alerts]
    assert set(followers.delays[: 100 - STORM - 4]) == {STORM_DELAY_SECONDS}, (
        "the bots need the machine first"
    )
    assert set(followers.delays[-STORM:]) == {FOLLOW_DELAY_SECONDS}


async def test_with_nobody_to_decide_the_follower_looks_at_once(
    dispatch: AlertDispatch, bots: FakeWorkflows, followers: FakeAlertWorkflows
) -> None:
    dispatch.submit(TakenAlert(uuid4(), uuid4(), None))
    await dispatch.drained()

    assert bots.told == []
    assert followers.delays == [0.0]


async def test_an_absent_workflow_service_is_nobodys_trouble(
    dispatch: AlertDispatch, bots: FakeWorkflows, followers: FakeAlertWorkflows
) -> None:
    bots.is_down = followers.is_away = True
    dispatch.submit(TakenAlert(uuid4(), uuid4(), uuid4()))
    await dispatch.drained()
    bots.is_down = followers.is_away = False

    dispatch.submit(TakenAlert(uuid4(), uuid4(), uuid4()))
    await dispatch.drained()

    assert len(followers.followed) == len(bots.told) == 1


async def test_nothing_is_logged_under_the_user_whose_alert_was_the_first(
    followers: FakeAlertWorkflows,
) -> None:
    class Noting(FakeWorkflows):
        async def signal_bot(self, *args: Any) -> None:
            contexts.append(get_contextvars())

    contexts: list[dict[str, Any]] = []
    dispatch = AlertDispatch(Noting(), followers, delay_seconds=0)
    with bound_contextvars(user_id="the first", request_id="of the first"):
        dispatch.submit(TakenAlert(uuid4(), uuid4(), uuid4()))
    await dispatch.drained()
    with bound_contextvars(user_id="the second"):
        dispatch.submit(TakenAlert(uuid4(), uuid4(), uuid4()))
    await dispatch.drained()
    await dispatch.close()

    assert contexts == [{}, {}]


async def test_a_defect_ends_one_round_and_not_the_dispatch(
    dispatch: AlertDispatch, followers: FakeAlertWorkflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object, **_options: object) -> None:
        raise LookupError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(followers, "follow_alert", broken)
        dispatch.submit(TakenAlert(uuid4(), uuid4(), None))
        (_telling, following) = dispatch._tasks
        with suppress(LookupError):
            await following

    dispatch.submit(TakenAlert(uuid4(), uuid4(), None))
    await dispatch.drained()
    assert len(followers.followed) == 1


async def test_too_many_are_left_to_the_sweep(
    dispatch: AlertDispatch, followers: FakeAlertWorkflows
) -> None:
    for _ in range(WAITING_MAX + 10):
        dispatch.submit(TakenAlert(uuid4(), uuid4(), None))
    await dispatch.drained()

    assert len(followers.followed) == WAITING_MAX
