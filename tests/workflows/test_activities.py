"""Activities in Temporal's own test environment: what they add to their one service call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities import beating
from activities.bots import BotActivities
from activities.markets import MarketActivities
from domain.contracts.bots import (
    BotRef,
    GuardResult,
    HuntInput,
    HuntResult,
    WatchInput,
    WatchResult,
)

REF = BotRef(user_id=uuid4(), bot_id=uuid4())


class Guards:
    async def guard(self, ref: BotRef) -> GuardResult:
        return GuardResult(state="running")


class Hunts:
    async def hunt(self, request: HuntInput) -> HuntResult:
        return HuntResult(decisions=1)


class Watches:
    """Watches until it is told to end."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def watch(self, request: WatchInput) -> WatchResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return WatchResult(looks=1)


def bots() -> BotActivities:
    return BotActivities(Guards(), Hunts())  # type: ignore[arg-type]


async def test_a_first_hunt_asks_for_no_guard() -> None:
    result = await ActivityEnvironment().run(bots().hunt, HuntInput(bot=REF))

    assert result == HuntResult(decisions=1)


async def test_a_repeated_hunt_asks_for_the_guard_since_the_first_may_have_left_intents() -> None:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=2)

    result = await environment.run(bots().hunt, HuntInput(bot=REF))

    assert result == HuntResult(decisions=1, exits_requested=True)


async def test_a_watch_is_given_back_when_the_worker_stops() -> None:
    environment, watches = ActivityEnvironment(), Watches()
    watching = asyncio.create_task(
        environment.run(
            MarketActivities(watches).watch,  # type: ignore[arg-type]
            WatchInput(venue="coinbase", realm="simulated"),
        )
    )
    await asyncio.sleep(0.05)

    environment.worker_shutdown()
    result = await asyncio.wait_for(watching, 2)

    assert result == WatchResult(looks=0)
    assert watches.was_cancelled


async def test_heartbeats_go_on_for_as_long_as_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beating, "INTERVAL_SECONDS", 0.01)
    environment = ActivityEnvironment()
    beats: list[object] = []
    environment.on_heartbeat = lambda *details: beats.append(details)

    async def work() -> None:
        async with beating.heartbeating():
            await asyncio.sleep(0.1)
        count = len(beats)
        await asyncio.sleep(0.05)
        assert len(beats) == count, "they end with the work"

    await environment.run(work)

    assert len(beats) >= 3
