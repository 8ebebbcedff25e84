"""Activities in Temporal's own test environment: what they add to their one service call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities import beating
from activities.bots import EXITS_RECHECK_SECONDS, BotActivities
from activities.markets import MarketActivities
from domain.contracts.bots import (
    BotRef,
    GuardResult,
    HuntInput,
    HuntResult,
    OrderTask,
    WatchInput,
    WatchResult,
)
from domain.orders import OrderState
from domain.ports import WorkflowServiceUnavailable

REF = BotRef(user_id=uuid4(), bot_id=uuid4())


ENTRY = OrderTask(order_id=uuid4(), state=OrderState.INTENDED, leg="entry", symbol="BTC-USD")
STOP = OrderTask(order_id=uuid4(), state=OrderState.INTENDED, leg="stop", symbol="ETH-USD")


@dataclass
class Guards:
    result: GuardResult = field(default_factory=lambda: GuardResult(state="running"))

    async def guard(self, ref: BotRef) -> GuardResult:
        return self.result


@dataclass
class Hunts:
    result: HuntResult = field(default_factory=lambda: HuntResult(decisions=1))

    async def hunt(self, request: HuntInput) -> HuntResult:
        return self.result


@dataclass
class Exits:
    woken: list[UUID] = field(default_factory=list)
    is_down: bool = False

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        if self.is_down:
            raise WorkflowServiceUnavailable
        self.woken.append(bot_id)


class Watches:
    """Follow a watch until they are told to end."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def follow(self, request: WatchInput) -> WatchResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return WatchResult(looks=1)


def bots(
    guards: Guards | None = None, hunts: Hunts | None = None, exits: Exits | None = None
) -> BotActivities:
    return BotActivities(guards or Guards(), hunts or Hunts(), exits or Exits())  # type: ignore[arg-type]


async def test_the_main_worker_leaves_exit_orders_to_the_exits_worker() -> None:
    exits = Exits()
    found = GuardResult(orders=(ENTRY, STOP), may_enter=True)

    result = await ActivityEnvironment().run(bots(Guards(found), exits=exits).guard, REF)

    assert result == GuardResult(orders=(ENTRY,), may_enter=True)
    assert exits.woken == [REF.bot_id]


async def test_a_bot_that_enters_no_more_is_guarded_again_soon_while_it_exits() -> None:
    """Its run ends once it is flat, and the exits worker ends no runs."""
    found = GuardResult(orders=(STOP,))

    result = await ActivityEnvironment().run(bots(Guards(found)).guard, REF)

    assert result.recheck_seconds == EXITS_RECHECK_SECONDS


async def test_a_guard_without_exits_wakes_nothing() -> None:
    exits = Exits()
    found = GuardResult(orders=(ENTRY,), recheck_seconds=7)

    result = await ActivityEnvironment().run(bots(Guards(found), exits=exits).guard, REF)

    assert result == found
    assert exits.woken == []


async def test_exits_that_a_hunt_made_are_carried_out_by_the_exits_worker() -> None:
    exits = Exits()
    hunts = Hunts(HuntResult(orders=(STOP, ENTRY)))

    result = await ActivityEnvironment().run(
        bots(hunts=hunts, exits=exits).hunt, HuntInput(bot=REF)
    )

    assert result.orders == (ENTRY,)
    assert exits.woken == [REF.bot_id]


async def test_a_hunt_that_asked_for_exits_wakes_them_at_once() -> None:
    exits = Exits()
    hunts = Hunts(HuntResult(exits_requested=True))

    await ActivityEnvironment().run(bots(hunts=hunts, exits=exits).hunt, HuntInput(bot=REF))

    assert exits.woken == [REF.bot_id]


async def test_exits_that_could_not_be_woken_keep_no_entry() -> None:
    hunts = Hunts(HuntResult(orders=(STOP, ENTRY)))

    result = await ActivityEnvironment().run(
        bots(hunts=hunts, exits=Exits(is_down=True)).hunt, HuntInput(bot=REF)
    )

    assert result.orders == (ENTRY,)


async def test_the_main_worker_gives_an_old_watch_back_at_once() -> None:
    watched = await ActivityEnvironment().run(
        MarketActivities(None).watch, WatchInput(venue="coinbase", realm="simulated")
    )

    assert watched == WatchResult()


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
