"""Recorded histories replay on today's code, and the names that histories hold have not changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from activities.accounts import AccountActivities
from activities.bots import BotActivities
from activities.exits import ExitActivities
from activities.export import ExportActivities
from activities.kill_switch import KillSwitchActivities
from activities.markets import MarketActivities
from activities.notify import NotifyActivities
from activities.orders import OrderActivities
from activities.signal import SignalActivities
from tests.support.sandbox import sandboxed
from worker import EXITS_WORKFLOWS, WORKFLOWS
from workflows.bot import BotWorkflow

ALL_WORKFLOWS = {*WORKFLOWS, *EXITS_WORKFLOWS}
HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
ACTIVITIES = (
    AccountActivities,
    BotActivities,
    ExitActivities,
    ExportActivities,
    KillSwitchActivities,
    NotifyActivities,
    OrderActivities,
    MarketActivities,
    SignalActivities,
)

# Names are part of every running history: one that goes or changes strands the bots that use it.
WORKFLOW_NAMES = {
    "account_deletion",
    "bot",
    "exits",
    "export",
    "watch",
    "subscription",
    "stripe_event",
    "signal",
    "kill_switch",
    "notify",
    "report",
}
ACTIVITY_NAMES = {
    "accounts.erase",
    "bots.guard",
    "bots.hunt",
    "exits.make_due",
    "exports.give_up",
    "exports.write",
    "kill_switch.begin",
    "kill_switch.tell",
    "kill_switch.look",
    "kill_switch.finish",
    "notify.deliver",
    "notify.report",
    "orders.place",
    "orders.settle",
    "markets.watch",
    "signals.follow",
}
SIGNAL_NAMES = {
    "stop",
    "emergency_stop",
    "update_settings",
    "pause",
    "resume",
    "trade_signal",
    "alert_received",
    "bar_closed",
    "order_update",
    "trigger_fired",
}
QUERY_NAMES = {"status"}


def test_there_are_histories_to_replay() -> None:
    assert [path.stem for path in HISTORIES] == [
        "account_deleted",
        "alert_followed",
        "exits_made",
        "export_given_up",
        "export_written",
        "hunt_given_up",
        "long_and_renewed",
        "messages_sent",
        "report_made",
        "switch_told",
        "trade_and_stop",
    ]


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    history = _history(path)
    replayer = Replayer(
        workflows=list(ALL_WORKFLOWS),
        data_converter=pydantic_data_converter,
        workflow_runner=sandboxed(),
    )

    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None


def test_workflow_names_are_the_ones_in_histories() -> None:
    names = {workflow._Definition.must_from_class(it).name for it in ALL_WORKFLOWS}

    assert names == WORKFLOW_NAMES


def test_activity_names_are_the_ones_in_histories() -> None:
    names = [_activity_name(method) for owner in ACTIVITIES for method in _methods(owner)]

    assert sorted(names) == sorted(ACTIVITY_NAMES), "each is registered once"


def test_signal_and_query_names_are_the_ones_in_histories() -> None:
    definition = workflow._Definition.must_from_class(BotWorkflow)

    assert set(definition.signals) == SIGNAL_NAMES
    assert set(definition.queries) == QUERY_NAMES


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"replay-{path.stem}", path.read_text(encoding="utf-8"))


def _methods(owner: type) -> list[Callable[..., object]]:
    return [
        method
        for _name, method in inspect.getmembers(owner, inspect.isfunction)
        if activity._Definition.from_callable(method) is not None
    ]


def _activity_name(method: Callable[..., object]) -> str:
    return str(activity._Definition.must_from_callable(method).name)
