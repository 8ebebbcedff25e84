"""Handing stored alerts on from the process that took them in, after it has answered.

Nothing here must succeed: the rows are the outbox, and the sweep starts what was left. Alerts that
came together tell their bot once; it takes everything that waits in one look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from domain.alerts import AlertWorkflows, TakenAlert
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WorkflowService, WorkflowServiceUnavailable

FOLLOW_DELAY_SECONDS = 2.0
"""By then the bot has decided and traded, so one look of the follower is enough."""

AT_ONCE = 16
WAITING_MAX = 10_000

_log = structlog.get_logger("nija.alerts")


class AlertDispatch:
    """One background task a process; begins with the first alert."""

    def __init__(self, bots: WorkflowService, workflows: AlertWorkflows) -> None:
        self._bots = bots
        self._workflows = workflows
        self._waiting: asyncio.Queue[TakenAlert] = asyncio.Queue(WAITING_MAX)
        self._task: asyncio.Task[None] | None = None

    def submit(self, alert: TakenAlert) -> None:
        """Take a stored alert; never waits. One too many is left to the sweep."""
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(alert)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def drained(self) -> None:
        """Wait until everything that was taken has been tried."""
        await self._waiting.join()

    async def close(self) -> None:
        """Stop; what was not handed on is left to the sweep."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await self._hand_on(batch)
            finally:
                for _ in batch:
                    self._waiting.task_done()

    async def _hand_on(self, batch: Sequence[TakenAlert]) -> None:
        """Tell the bots first: following has time."""
        owners = {alert.bot_id: alert.user_id for alert in batch if alert.bot_id is not None}
        failed = await _all_of(
            [
                self._bots.signal_bot(user_id, bot_id, BotSignal.ALERT_RECEIVED, Nudge())
                for bot_id, user_id in owners.items()
            ]
        )
        failed += await _all_of(
            [
                self._workflows.follow_alert(
                    alert.user_id,
                    alert.alert_id,
                    # With nobody to decide, the follower's first look records that.
                    delay_seconds=FOLLOW_DELAY_SECONDS if alert.bot_id else 0.0,
                )
                for alert in batch
            ]
        )
        if failed:
            _log.warning("alerts.wait", alerts=len(batch), failed=failed)


async def _all_of(calls: Sequence[Coroutine[Any, Any, None]]) -> int:
    """Make all calls, some at a time; how many found no workflow service."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def make(call: Coroutine[Any, Any, None]) -> bool:
        async with gate:
            try:
                await call
            except WorkflowServiceUnavailable:
                return False
        return True

    return (await asyncio.gather(*(make(call) for call in calls))).count(False)
