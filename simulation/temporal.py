"""Temporal's place: workflows that survive every process, and the signals that reach them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from domain.contracts.bots import BotRef, BotSignal, Nudge, TradeSignal
from domain.contracts.kill_switches import (
    KillSwitchCounts,
    KillSwitchEnd,
    KillSwitchLook,
    KillSwitchRound,
)
from domain.markets import VenueKey
from domain.ports import WorkflowServiceUnavailable
from simulation.activities import Activities
from simulation.bots import BotActor, ExitsActor
from simulation.processes import outside
from simulation.system import Workflows
from simulation.trace import Trace
from workflows import policies

FLAT_PATIENCE = 600.0
LOOK_DELAY_MAX = 15.0
BARS_HEARD = 0.02
"""Share of the closed bars that a bot is woken for: most change nothing, and a wake-up that is lost
is what a bot has to live with anyway."""


class Temporal(Workflows):
    """Implements what the services ask of the workflow service.

    Args:
        random_: decides which signals are lost.
        trace: told of signals.
    """

    activities: Activities

    def __init__(self, random_: random.Random, trace: Trace) -> None:
        self._random = random_
        self._trace = trace
        self.bots: dict[UUID, BotActor] = {}
        self.exits: dict[UUID, ExitsActor] = {}
        self._followed: dict[UUID, asyncio.Task[None]] = {}
        self._switches: dict[UUID, asyncio.Task[None]] = {}
        self._changed: dict[UUID, asyncio.Event] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.on_end: Callable[[asyncio.Task[Any]], None] = lambda _task: None
        self.down_until = 0.0
        self.loss_rate = 0.0

    def busy(self) -> list[str]:
        """Which workflows have something to do at present."""
        switches = [f"switch {id_}" for id_, task in self._switches.items() if not task.done()]
        exits = [f"exits {id_}: {it.doing}" for id_, it in self.exits.items() if not it.is_over]
        bots = [f"bot {id_}: {it.doing}" for id_, it in self.bots.items() if it.doing]
        return switches + exits + bots

    # --- domain.ports -----------------------------------------------------------------------

    async def is_available(self) -> bool:
        """Whether it answers."""
        await asyncio.sleep(self._latency())
        return not self._is_down

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        """Deliver, starting the workflow where it does not run."""
        if signal is BotSignal.BAR_CLOSED and self._random.random() >= BARS_HEARD:
            return
        is_lost = await self._reach()
        bot = self.bots.get(bot_id)
        if bot is None or bot.is_over:
            bot = self.bots[bot_id] = BotActor(
                BotRef(user_id=user_id, bot_id=bot_id), self.activities
            )
            self._run(bot.run())
        bot.signal(signal, message)
        if is_lost:
            raise WorkflowServiceUnavailable  # delivered; the answer was lost

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Deliver, starting the workflow of a bot's exits where it does not run."""
        is_lost = await self._reach()
        actor = self.exits.get(bot_id)
        if actor is None or actor.is_over:
            actor = self.exits[bot_id] = ExitsActor(
                BotRef(user_id=user_id, bot_id=bot_id), self.activities
            )
            self._run(actor.run())
        actor.due()
        if is_lost:
            raise WorkflowServiceUnavailable

    async def ensure_watch(self, key: VenueKey) -> None:
        """Answer or not; what stands for a watch does nothing."""
        await asyncio.sleep(self._latency())
        if self._is_down:
            raise WorkflowServiceUnavailable

    async def follow_alert(self, user_id: UUID, alert_id: UUID, *, delay_seconds: float) -> None:
        """Follow an alert where nobody does."""
        await self._reach()
        task = self._followed.get(alert_id)
        if task is None or task.done():
            self._followed[alert_id] = self._run(self._follow(user_id, alert_id, delay_seconds))

    async def tell_of_switch(self, switch_id: UUID) -> None:
        """Start a switch's workflow, or have the one that runs read its row again."""
        await self._reach()
        self._changed.setdefault(switch_id, asyncio.Event()).set()
        task = self._switches.get(switch_id)
        if task is None or task.done():
            self._switches[switch_id] = self._run(self._tell(switch_id))

    # --- workflows --------------------------------------------------------------------------

    async def _follow(self, user_id: UUID, alert_id: UUID, delay_seconds: float) -> None:
        wait: float | None = delay_seconds
        while wait is not None:
            await asyncio.sleep(wait)
            result = await self.activities.execute(
                "follow",
                lambda services: services.following.follow(user_id, alert_id),
                policies.GUARD,
            )
            wait = result.wait_seconds

    async def _tell(self, switch_id: UUID) -> None:
        changed = self._changed[switch_id]
        while True:
            changed.clear()
            due = await self.activities.execute(
                "switch begins",
                lambda services: services.rounds.begin(switch_id),
                policies.KILL_SWITCH,
            )
            if not due.is_due:
                if changed.is_set():
                    continue
                return
            counts = await self._tell_pages(due)
            look = None if counts is None else await self._verify(due, changed)
            if counts is not None and look is not None and not look.superseded:
                end = KillSwitchEnd(round=due, counts=counts, look=look)
                await self._finish(end)

    async def _finish(self, end: KillSwitchEnd) -> None:
        await self.activities.execute(
            "switch ends", lambda services: services.rounds.finish(end), policies.KILL_SWITCH
        )

    async def _tell_pages(self, due: KillSwitchRound) -> KillSwitchCounts | None:
        after: UUID | None = None
        counts = KillSwitchCounts()
        while True:
            page_after = after
            page = await self.activities.execute(
                "switch tells",
                lambda services, page_after=page_after: services.rounds.tell(  # type: ignore[misc]
                    due, page_after
                ),
                policies.KILL_SWITCH,
            )
            counts, after = counts.plus(page.counts), page.last
            if page.superseded:
                return None
            if after is None:
                return counts

    async def _verify(self, due: KillSwitchRound, changed: asyncio.Event) -> KillSwitchLook:
        loop = asyncio.get_running_loop()
        began, delay = loop.time(), 1.0
        while True:
            changed.clear()
            look = await self.activities.execute(
                "switch looks", lambda services: services.rounds.look(due), policies.KILL_SWITCH
            )
            left = look.sends_in_flight + (look.open_positions if due.flatten else 0)
            if look.superseded or not left or loop.time() - began >= FLAT_PATIENCE:
                return look
            try:
                await asyncio.wait_for(changed.wait(), delay)
            except TimeoutError:
                delay = min(delay * 2, LOOK_DELAY_MAX)

    # --- parts ------------------------------------------------------------------------------

    @property
    def _is_down(self) -> bool:
        return asyncio.get_running_loop().time() < self.down_until

    async def _reach(self) -> bool:
        """Travel there; whether the answer will be lost on the way back.

        Raises:
            WorkflowServiceUnavailable: it does not answer, or what was sent got lost.
        """
        await asyncio.sleep(self._latency())
        if self._is_down or self._random.random() < self.loss_rate:
            raise WorkflowServiceUnavailable
        return self._random.random() < self.loss_rate

    def _latency(self) -> float:
        return self._random.choice((0.002, 0.01, 0.04))

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = outside(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self.on_end(task)
