"""Ctrl-C keeps everything: a second run goes on where the first ended."""

from __future__ import annotations

import asyncio
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter

from domain.contracts.bots import (
    QUERY_STATUS,
    BotSignal,
    SignalAction,
    TradeSignal,
    bot_workflow_id,
)
from tests.support.command_line import nija
from tests.support.up import Person, RunningStack, eventually

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="nija-second-"))
    folder.chmod(0o711)
    stack = RunningStack(
        folder / "data", {"NIJA_REPLAY_SPEED": "5", "NIJA_SIMULATOR_FEE_TIER": "vip"}
    )
    try:
        yield stack
    finally:
        stack.kill_remains()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_second_run_goes_on(stack: RunningStack) -> None:
    stack.start()
    person = stack.register("again@nija.example")
    account = stack.open_venue_account()
    stack.connect(person, account)
    stack.data("POST", "/trading/start", person, {"broker": "coinbase", "paper_trading": False})
    eventually(lambda: status(stack, person)["status"] == "running", what="running")
    bot_id = open_position(stack)
    position = eventually(lambda: positions(stack, person), what="a position")[0]
    clock = venue_clock(stack)
    assert stat.S_IMODE((stack.data_dir / "run.json").stat().st_mode) == 0o600
    assert stack.stop() == 0
    assert not (stack.data_dir / "run.json").exists()

    stack.start()

    assert clock["epoch"] == venue_clock(stack)["epoch"]
    assert clock["now"] <= venue_clock(stack)["now"]
    assert status(stack, person)["status"] == "running"
    (again,) = positions(stack, person)
    assert again["position_id"] == position["position_id"]
    assert workflow_state(stack, bot_id) == (WorkflowExecutionStatus.RUNNING, "running")

    stopped = stack.data("POST", "/trading/stop", person, {"close_positions": True})
    assert stopped["open_positions"] == 0
    assert positions(stack, person) == []
    (trade,) = stack.data("GET", "/account/history", person)["trades"]
    assert (trade["exit_reason"], trade["status"]) == ("bot_stopped", "closed")
    (books,) = stack.dump(account["api_key"])["accounts"]
    assert {order["side"] for order in books["orders"]} == {"BUY", "SELL"}
    assert stack.stop() == 0


def test_starting_on_a_locked_folder_names_the_setting(stack: RunningStack) -> None:
    stack.start()

    refused = nija("up", NIJA_DATA_DIR=str(stack.data_dir))

    assert refused.returncode == 1
    assert "NIJA_DATA_DIR" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert stack.is_ready()


def status(stack: RunningStack, person: Person) -> dict[str, Any]:
    found: dict[str, Any] = stack.data("GET", "/trading/status", person)
    return found


def positions(stack: RunningStack, person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.data("GET", "/account/positions", person)["positions"]
    return found


def venue_clock(stack: RunningStack) -> dict[str, Any]:
    answer = httpx.get(f"{stack.run['simulator_url']}/control/clock", timeout=5).json()
    return {"epoch": answer["epoch"], "now": datetime.fromisoformat(answer["now"])}


def open_position(stack: RunningStack) -> uuid.UUID:
    """Signal the one bot there is; its id."""

    async def send() -> uuid.UUID:
        client = await Client.connect(
            stack.run["temporal_address"], data_converter=pydantic_data_converter
        )
        (bot,) = [run async for run in client.list_workflows("WorkflowType = 'bot'") if run.id]
        await client.get_workflow_handle(bot.id).signal(
            BotSignal.TRADE_SIGNAL.value,
            TradeSignal(signal_id=uuid.uuid4(), action=SignalAction.BUY, symbol="BTC-USD"),
        )
        return uuid.UUID(bot.id.removeprefix("bot:"))

    return asyncio.run(send())


def workflow_state(
    stack: RunningStack, bot_id: uuid.UUID
) -> tuple[WorkflowExecutionStatus | None, str]:
    """What an operator sees: the execution's status and the bot's own word."""

    async def ask() -> tuple[WorkflowExecutionStatus | None, str]:
        client = await Client.connect(
            stack.run["temporal_address"], data_converter=pydantic_data_converter
        )
        handle = client.get_workflow_handle(bot_workflow_id(bot_id))
        answer = await handle.query(QUERY_STATUS)
        return (await handle.describe()).status, answer["state"]

    return asyncio.run(ask())
