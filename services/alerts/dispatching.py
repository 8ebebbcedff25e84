"""Handing stored alerts on from the process that took them in, after it has answered.

Nothing here must succeed: the rows are the outbox, and the sweep starts what was left. Bots are
told first, each once for all alerts that came meanwhile: a hunt takes everything that waits.
Following has time, and is begun at a pace that leaves the workflow service to the bots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any
from uuid import UUID

import structlog

from domain.alerts import AlertWorkflows, TakenAlert
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WorkflowService, WorkflowServiceUnavailable

FOLLOW_DELAY_SECONDS = 2.0
"""By then the bot has decided and traded, so one look of the follower is enough."""

STORM = 20
STORM_DELAY_SECONDS = 15.0
"""The same while more than `STORM` alerts wait to be followed: the bots need the machine first."""

TELLING_AT_ONCE = 16
TELLING_DELAY = 0.25
TELLING_DELAY_STORM = 1.0
"""Seconds between two messages to one bot, also while more than `STORM` alerts wait to be followed.
Each is an event of its history, and a bot that hears something all the time cannot continue as new;
one that hears less often takes more at once."""

FOLLOWING_AT_ONCE = 4
FOLLOWING_DELAY = 0.1
"""Seconds after that many starts: 40 a second in a storm, while nobody waits for them."""

WAITING_MAX = 10_000

_log = structlog.get_logger("nija.alerts")


class AlertDispatch:
    """Two background tasks a process; they begin with the first alert.

    Args:
        bots: told that alerts wait.
        workflows: follow each alert.
        delay_seconds: between two rounds of beginning to follow.
    """

    def __init__(
        self,
        bots: WorkflowService,
        workflows: AlertWorkflows,
        *,
        delay_seconds: float = FOLLOWING_DELAY,
    ) -> None:
        self._bots = bots
        self._workflows = workflows
        self._delay_seconds = delay_seconds
        self._untold: dict[UUID, UUID] = {}
        self._unwoken: dict[UUID, UUID] = {}
        self._told: dict[UUID, float] = {}
        self._news = asyncio.Event()
        self._is_told = asyncio.Event()
        self._is_told.set()
        self._unfollowed: asyncio.Queue[TakenAlert] = asyncio.Queue(WAITING_MAX)
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def submit(self, alert: TakenAlert) -> None:
        """Take a stored alert; never waits. One too many is left to the sweep."""
        if alert.exits_of is not None:
            self._unwoken[alert.exits_of] = alert.user_id
            self._news.set()
            self._is_told.clear()
        if alert.bot_id is not None:
            self._untold[alert.bot_id] = alert.user_id
            self._news.set()
            self._is_told.clear()
        if alert.is_followed:
            with suppress(asyncio.QueueFull):
                self._unfollowed.put_nowait(alert)
        if not self._tasks or any(task.done() for task in self._tasks):
            self._begin()

    def _begin(self) -> None:
        """Start the tasks; one that a defect has ended says so and takes the other along."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (failure := task.exception()):
                _log.error("alerts.dispatch_crashed", exc_info=failure)
            task.cancel()
        # In a context of their own: what they log is about everybody's alerts, and would else go
        # under the user and request whose alert happened to be the first.
        self._tasks = (
            asyncio.create_task(self._tell(), context=Context()),
            asyncio.create_task(self._follow(), context=Context()),
        )

    async def drained(self) -> None:
        """Wait until everything that was taken has been tried."""
        await self._is_told.wait()
        await self._unfollowed.join()

    async def close(self) -> None:
        """Stop; what was not handed on is left to the sweep."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _is_storm(self) -> bool:
        return self._unfollowed.qsize() > STORM

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            await self._wake_exits()
            now = loop.time()
            delay = TELLING_DELAY_STORM if self._is_storm else TELLING_DELAY
            self._told = {bot: at for bot, at in self._told.items() if at + delay > now}
            due = {bot: user for bot, user in self._untold.items() if bot not in self._told}
            for bot_id in due:
                del self._untold[bot_id]
                self._told[bot_id] = now
            await self._tell_all(due)
            if self._unwoken:
                continue
            if not self._untold:
                self._is_told.set()
                await self._news.wait()
                continue
            soonest = min(self._told.get(bot, now - delay) for bot in self._untold) + delay
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.0, soonest - loop.time()))

    async def _wake_exits(self) -> None:
        """Have exits carried out that were asked for; the exits worker's own poll does it too."""
        waiting, self._unwoken = self._unwoken, {}
        calls = [self._bots.wake_exits(user_id, bot_id) for bot_id, user_id in waiting.items()]
        await _all_of(calls, TELLING_AT_ONCE)

    async def _tell_all(self, bots: Mapping[UUID, UUID]) -> None:
        calls = [
            self._bots.signal_bot(user_id, bot_id, BotSignal.ALERT_RECEIVED, Nudge())
            for bot_id, user_id in bots.items()
        ]
        failed = await _all_of(calls, TELLING_AT_ONCE)
        if failed:
            _log.warning("alerts.bots_not_told", bots=len(bots), failed=failed)

    async def _follow(self) -> None:
        while True:
            batch = [await self._unfollowed.get()]
            while len(batch) < FOLLOWING_AT_ONCE and not self._unfollowed.empty():
                batch.append(self._unfollowed.get_nowait())
            try:
                await self._follow_all(batch)
            finally:
                for _ in batch:
                    self._unfollowed.task_done()
            await asyncio.sleep(self._delay_seconds)

    async def _follow_all(self, batch: Sequence[TakenAlert]) -> None:
        delay = STORM_DELAY_SECONDS if self._is_storm else FOLLOW_DELAY_SECONDS
        calls = [
            self._workflows.follow_alert(
                alert.user_id,
                alert.alert_id,
                # With nobody to decide, the follower's first look records that.
                delay_seconds=delay if alert.bot_id else 0.0,
            )
            for alert in batch
        ]
        failed = await _all_of(calls, FOLLOWING_AT_ONCE)
        if failed:
            _log.warning("alerts.not_followed", alerts=len(batch), failed=failed)


async def _all_of(calls: Sequence[Coroutine[Any, Any, None]], at_once: int) -> int:
    """Make all calls, some at a time; how many found no workflow service."""
    gate = asyncio.Semaphore(at_once)

    async def make(call: Coroutine[Any, Any, None]) -> bool:
        async with gate:
            try:
                await call
            except WorkflowServiceUnavailable:
                return False
        return True

    return (await asyncio.gather(*(make(call) for call in calls))).count(False)
