"""A bot's workflow: what `workflows.bot.BotWorkflow` does, without a history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from activities.bots import EXITS_RECHECK_SECONDS
from domain.contracts.bots import (
    BotRef,
    BotSignal,
    GuardResult,
    HuntInput,
    HuntResult,
    Nudge,
    OrderResult,
    OrderTask,
    TradeSignal,
)
from domain.contracts.exits import ExitsDue
from domain.orders import Leg, OrderState
from domain.ports import WorkflowServiceUnavailable
from simulation.activities import Activities, ActivityFailed, Call
from simulation.system import Services
from workflows import policies

SILENCE_SECONDS = 12 * policies.SILENCE_MAX.total_seconds()
"""Longer than the product's own: a bot that hears nothing for half an hour is idle, and its
looks would be most of a run. What it has to do comes by signals, sweeps and polls before."""


class Changes:
    """Wakes everything that waits for a condition."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Something has changed."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, ready: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait for a condition; False when the time is over first."""
        try:
            async with asyncio.timeout(seconds):
                while not ready():
                    await self._event.wait()
        except TimeoutError:
            return False
        return True


class Execution:
    """Sends and looks up a bot's orders, a task for each, as `workflows.execution` does."""

    def __init__(
        self,
        user_id: UUID,
        activities: Activities,
        on_end: Callable[[bool], None],
        *,
        exits: bool = False,
    ) -> None:
        self._user_id = user_id
        self._activities = activities
        self._on_end = on_end
        self._in_exits_worker = exits
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """How many orders are being carried out."""
        return len(self._tasks)

    def carry_out(self, orders: tuple[OrderTask, ...]) -> None:
        """Begin with the orders that have no task yet."""
        for order in orders:
            if order.order_id not in self._tasks:
                self._tasks[order.order_id] = asyncio.create_task(self._carry_out_one(order))

    async def _carry_out_one(self, order: OrderTask) -> None:
        user_id, order_id = self._user_id, order.order_id
        result = OrderResult(state=order.state)
        try:
            if result.state is OrderState.INTENDED:
                result = await self._execute(
                    f"place {order.leg}",
                    lambda services: services.placing.place(user_id, order_id),
                    policies.PLACE,
                )
            if not result.state.is_final:
                result = await self._execute(
                    f"settle {order.leg}",
                    lambda services: services.settling.settle_or_delay(user_id, order_id),
                    policies.SETTLE,
                )
            if not result.state.is_final:
                await asyncio.sleep(policies.UNSETTLED_PAUSE.total_seconds())
        except ActivityFailed:
            await asyncio.sleep(policies.UNSETTLED_PAUSE.total_seconds())
        finally:
            del self._tasks[order_id]
            self._on_end(result.guard_due or not result.state.is_final)

    async def _execute(
        self, name: str, call: Call[OrderResult], options: policies.ActivityOptions
    ) -> OrderResult:
        return await self._activities.execute(name, call, options, exits=self._in_exits_worker)


class ExitsActor:
    """A bot's exits, as `workflows.exits.ExitWorkflow` carries them out."""

    def __init__(self, ref: BotRef, activities: Activities) -> None:
        self._ref = ref
        self._activities = activities
        self._is_due = True
        self._view = ExitsDue()
        self._changes = Changes()
        self._orders = Execution(ref.user_id, activities, self._order_ended, exits=True)
        self.is_over = False

    @property
    def doing(self) -> str:
        """What it waits for."""
        return f"due {self._is_due}, orders {self._orders.count}, {self._view}"

    def due(self) -> None:
        """An exit is due, or may be: read the rows."""
        self._is_due = True
        self._changes.notify()

    def _order_ended(self, is_due: bool) -> None:
        self._is_due = self._is_due or is_due
        self._changes.notify()

    async def run(self) -> None:
        """Go on until nothing is due."""
        try:
            while True:
                if self._is_due:
                    self._is_due = False
                    self._view = await self._activities.execute(
                        "make exits",
                        lambda services: services.exits.make_due(self._ref),
                        policies.EXITS,
                        exits=True,
                    )
                    self._orders.carry_out(self._view.orders)
                recheck, count = self._view.recheck_seconds, self._orders.count
                if not self._is_due and not count and recheck is None:
                    return
                is_ready = await self._changes.until(
                    lambda count=count: self._is_due or self._orders.count < count,  # type: ignore[misc]
                    recheck,
                )
                self._is_due = self._is_due or not is_ready
        finally:
            self.is_over = True


class BotActor:
    """One bot: two loops, and a task for each entry."""

    def __init__(self, ref: BotRef, activities: Activities) -> None:
        self._ref = ref
        self._activities = activities
        self._orders = Execution(ref.user_id, activities, self._order_ended)
        self._signals: list[TradeSignal] = []
        self._remembered: set[UUID] = set()
        self._guard_due = self._hunt_due = True
        self._is_hunting = False
        self._changes = Changes()
        self._view = GuardResult()
        self.is_over = False

    @property
    def doing(self) -> str:
        """What is to be done at present; empty where nothing is."""
        if self.is_over:
            return ""
        parts = {
            "guard due": self._guard_due,
            "hunt due": self._hunt_due,
            "hunting": self._is_hunting,
            "signals": bool(self._signals),
            "orders": bool(self._orders.count),
        }
        return ", ".join(part for part, is_so in parts.items() if is_so)

    def signal(self, signal: BotSignal, message: Nudge | TradeSignal) -> None:
        """Take a signal as the workflow does."""
        if isinstance(message, TradeSignal):
            if message.signal_id not in self._remembered:
                self._remembered.add(message.signal_id)
                self._signals.append(message)
        elif signal in {BotSignal.ALERT_RECEIVED, BotSignal.BAR_CLOSED}:
            self._hunt_due = True
        elif signal in {BotSignal.UPDATE_SETTINGS, BotSignal.RESUME}:
            self._guard_due = self._hunt_due = True
        else:
            self._guard_due = True
        self._changes.notify()

    def _order_ended(self, is_due: bool) -> None:
        self._guard_due = self._guard_due or is_due
        self._changes.notify()

    async def run(self) -> None:
        """Guard and hunt until stopped and flat."""
        hunting = asyncio.create_task(self._hunt_entries())
        try:
            await self._guard_positions()
            await self._changes.until(lambda: not self._is_hunting)
        finally:
            self.is_over = True
            hunting.cancel()

    async def _guard_positions(self) -> None:
        while True:
            silence = SILENCE_SECONDS
            if self._view.recheck_seconds is not None:
                silence = min(silence, max(self._view.recheck_seconds, 0.0))
            if not await self._changes.until(lambda: self._guard_due, silence):
                self._hunt_due = True
                self._changes.notify()
            self._guard_due = False
            self._view = await self._activities.execute("guard", self._guard, policies.GUARD)
            self._orders.carry_out(self._view.orders)
            is_idle = not (
                self._signals or self._orders.count or self._guard_due or self._is_hunting
            )
            if self._view.finished and is_idle:
                return

    async def _guard(self, services: Services) -> GuardResult:
        """As the activity does: exits are the exits worker's."""
        found = await services.guard.guard(self._ref)
        entries = _entries(found.orders)
        if entries == found.orders:
            return found
        await self._wake_exits(services)
        recheck = found.recheck_seconds
        if not found.may_enter:
            recheck = min(recheck or EXITS_RECHECK_SECONDS, EXITS_RECHECK_SECONDS)
        return found.model_copy(update={"orders": entries, "recheck_seconds": recheck})

    async def _wake_exits(self, services: Services) -> None:
        with suppress(WorkflowServiceUnavailable):
            await services.workflows.wake_exits(self._ref.user_id, self._ref.bot_id)

    async def _hunt_entries(self) -> None:
        while True:
            await self._changes.until(lambda: self._hunt_due or bool(self._signals))
            self._hunt_due, self._is_hunting = False, True
            signals = tuple(self._signals)
            result = await self._hunt(signals)
            del self._signals[: len(signals)]
            self._orders.carry_out(result.orders)
            self._guard_due = self._guard_due or result.exits_requested
            self._hunt_due = self._hunt_due or result.more
            self._is_hunting = False
            self._changes.notify()

    async def _hunt(self, signals: tuple[TradeSignal, ...]) -> HuntResult:
        attempts = 0

        async def hunt(services: Services) -> HuntResult:
            nonlocal attempts
            attempts += 1
            is_retry = attempts > 1
            result = await services.hunt.hunt(HuntInput(bot=self._ref, signals=signals))
            entries = _entries(result.orders)
            if result.exits_requested or entries != result.orders:
                await self._wake_exits(services)
                result = result.model_copy(update={"orders": entries})
            # As the activity does: a try before this one may have committed intents.
            return result.model_copy(update={"exits_requested": True}) if is_retry else result

        return await self._activities.execute("hunt", hunt, policies.HUNT)


def _entries(orders: tuple[OrderTask, ...]) -> tuple[OrderTask, ...]:
    return tuple(order for order in orders if order.leg == Leg.ENTRY.value)
