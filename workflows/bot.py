"""A user's bot: one durable workflow that guards positions and hunts for entries.

The database's rows own every fact; this workflow is the heartbeat that acts on them. Two loops run
side by side: *guarding* (exits, needs no market data) and *hunting* (decisions on bars and
signals), so whatever delays or breaks an entry never delays an exit. Each order is carried out by
a task of its own. When the history has grown long the run closes: it starts no more hunts, gives
up one that hangs, and guards on until no send is on its way; then it continues as new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.bots import BotActivities
    from domain.contracts.bots import (
        BOT_WORKFLOW,
        QUERY_STATUS,
        REMEMBERED_SIGNALS_MAX,
        BotInput,
        BotMemory,
        BotRef,
        BotSignal,
        BotStatus,
        GuardResult,
        HuntInput,
        HuntResult,
        Nudge,
        TradeSignal,
    )
    from workflows import policies
    from workflows.execution import OrderExecution

USER = SearchAttributeKey.for_keyword("NijaUser")
BOT = SearchAttributeKey.for_keyword("NijaBot")
KIND = SearchAttributeKey.for_keyword("NijaKind")
VENUE = SearchAttributeKey.for_keyword("NijaVenue")
MODE = SearchAttributeKey.for_keyword("NijaMode")
STATE = SearchAttributeKey.for_keyword("NijaState")


@workflow.defn(name=BOT_WORKFLOW)
class BotWorkflow:
    """Guard, hunt, carry out, continue as new; end when the bot is stopped and flat."""

    @workflow.init
    def __init__(self, start: BotInput) -> None:
        self._bot: BotRef = start.bot
        self._memory: BotMemory = start.memory
        self._signals: list[TradeSignal] = list(start.memory.pending_signals)
        self._remembered: list[UUID] = list(start.memory.remembered_signals)
        self._orders = OrderExecution(start.bot.user_id, self._order_ended)
        self._hunting = False
        self._view = GuardResult()
        self._guard_due = start.memory.guard_due
        self._hunt_due = start.memory.hunt_due
        self._closing = False
        self._doing = "starting"

    @workflow.run
    async def run(self, start: BotInput) -> None:
        """Live until stopped and flat; continue as new every few dozen events."""
        guarding = asyncio.create_task(self._guard_positions())
        hunting = asyncio.create_task(self._hunt_entries())
        await workflow.wait([guarding, hunting], return_when=asyncio.ALL_COMPLETED)
        guarding.result()
        hunting.result()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._view.finished and not self._signals and not self._guard_due:
            self._describe("stopped and flat")
            return
        workflow.continue_as_new(BotInput(bot=start.bot, memory=self._carry_memory()))

    # --- the two loops ----------------------------------------------------------------------

    async def _guard_positions(self) -> None:
        while True:
            woken = await self._wait(
                lambda: self._guard_due or self._may_leave(), self._view.recheck_seconds
            )
            if self._may_leave():
                break
            if not woken:
                self._hunt_due = True
            self._guard_due = False
            self._view = await workflow.execute_activity_method(
                BotActivities.guard, self._bot, summary="exits and live orders", **policies.GUARD
            )
            self._orders.carry_out(self._view.orders, closing=self._closing)
            self._publish()
            if self._view.finished or self._history_is_long():
                self._closing = True

    def _may_leave(self) -> bool:
        """Whether this run may end: look-ups may be left to the next one, sends may not."""
        return self._closing and not self._hunting and not self._orders.is_sending

    async def _hunt_entries(self) -> None:
        while not self._closing:
            # Silence is the guard's to notice: a timer here would be two events for every bar.
            await workflow.wait_condition(
                lambda: self._closing or self._hunt_due or bool(self._signals)
            )
            if self._closing:
                break
            self._hunt_due = False
            signals = tuple(self._signals)
            self._hunting = True
            result = await self._hunt(signals)
            self._hunting = False
            if result is None:
                self._hunt_due = True
                break
            del self._signals[: len(signals)]
            self._remember(signals)
            self._orders.carry_out(result.orders, closing=self._closing)
            if result.exits_requested:
                self._guard_due = True
            if result.more:
                self._hunt_due = True
            self._describe(result.summary)
            if self._history_is_long():
                self._closing = True

    async def _hunt(self, signals: tuple[TradeSignal, ...]) -> HuntResult | None:
        """Hunt once; None when it was given up for the next run, which has the same signals."""
        hunt = workflow.start_activity_method(
            BotActivities.hunt,
            HuntInput(bot=self._bot, signals=signals),
            summary=_hunt_summary(signals),
            **policies.HUNT,
        )
        await workflow.wait_condition(lambda: self._closing or hunt.done())
        if not hunt.done():
            with suppress(TimeoutError):
                await workflow.wait_condition(hunt.done, timeout=policies.HUNT_PATIENCE)
        if hunt.done():
            return await hunt
        hunt.cancel()
        with suppress(ActivityError, asyncio.CancelledError):
            await hunt
        return None

    def _order_ended(self) -> None:
        self._guard_due = True

    async def _wait(self, ready: Callable[[], bool], seconds_max: float | None = None) -> bool:
        """Wait for `ready` or the longest silence; False after a silence."""
        silence = policies.SILENCE_MAX
        if seconds_max is not None:
            silence = min(silence, timedelta(seconds=seconds_max))
        try:
            await workflow.wait_condition(ready, timeout=silence)
        except TimeoutError:
            return False
        return True

    # --- signals and queries ----------------------------------------------------------------

    @workflow.signal(name=BotSignal.STOP)
    def stop(self, nudge: Nudge) -> None:
        """The row says stopped: exits only, then end."""
        self._guard_due = True

    @workflow.signal(name=BotSignal.EMERGENCY_STOP)
    def emergency_stop(self, nudge: Nudge) -> None:
        """The row says emergency-stopped; positions may have been asked to close."""
        self._guard_due = True

    @workflow.signal(name=BotSignal.UPDATE_SETTINGS)
    def update_settings(self, nudge: Nudge) -> None:
        """Settings or another row changed; look again."""
        self._guard_due = True
        self._hunt_due = True

    @workflow.signal(name=BotSignal.PAUSE)
    def pause(self, nudge: Nudge) -> None:
        """The row says paused: no entries."""
        self._guard_due = True

    @workflow.signal(name=BotSignal.RESUME)
    def resume(self, nudge: Nudge) -> None:
        """The row says running again."""
        self._guard_due = True
        self._hunt_due = True

    @workflow.signal(name=BotSignal.TRADE_SIGNAL)
    def trade_signal(self, signal: TradeSignal) -> None:
        """An outside wish to trade; a repeated id is dropped here and again by the database."""
        known = signal.signal_id in self._remembered
        if not known and all(signal.signal_id != other.signal_id for other in self._signals):
            self._signals.append(signal)

    @workflow.signal(name=BotSignal.ALERT_RECEIVED)
    def alert_received(self, nudge: Nudge) -> None:
        """Alerts wait for a decision; one hunt takes many."""
        self._hunt_due = True

    @workflow.signal(name=BotSignal.BAR_CLOSED)
    def bar_closed(self, nudge: Nudge) -> None:
        """A bar of the strategy's timeframe closed at the venue."""
        self._hunt_due = True

    @workflow.signal(name=BotSignal.ORDER_UPDATE)
    def order_update(self, nudge: Nudge) -> None:
        """Something happened to a resting order."""
        self._guard_due = True

    @workflow.signal(name=BotSignal.TRIGGER_FIRED)
    def trigger_fired(self, nudge: Nudge) -> None:
        """The watcher saw a stop's or a target's price."""
        self._guard_due = True

    @workflow.query(name=QUERY_STATUS)
    def status(self) -> BotStatus:
        """Where the bot stands, from its own memory."""
        return BotStatus(
            state=self._view.state or self._memory.state,
            venue=self._view.venue or self._memory.venue,
            mode=self._view.mode or self._memory.mode,
            open_positions=self._view.open_positions,
            orders_in_flight=self._orders.count,
            pending_signals=len(self._signals),
            doing=self._doing,
        )

    # --- memory -----------------------------------------------------------------------------

    def _history_is_long(self) -> bool:
        return workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX

    def _remember(self, signals: tuple[TradeSignal, ...]) -> None:
        self._remembered.extend(signal.signal_id for signal in signals)
        del self._remembered[:-REMEMBERED_SIGNALS_MAX]

    def _carry_memory(self) -> BotMemory:
        return self._memory.model_copy(
            update={
                "pending_signals": tuple(self._signals),
                "remembered_signals": tuple(self._remembered),
                # The next run looks first: orders may have been left to it.
                "guard_due": True,
                "hunt_due": self._hunt_due,
            }
        )

    def _publish(self) -> None:
        """Show the operators where the bot stands; an upsert only when something changed."""
        view = self._view
        shown = (self._memory.venue, self._memory.mode, self._memory.state)
        if shown != (view.venue, view.mode, view.state):
            workflow.upsert_search_attributes(
                [
                    USER.value_set(str(self._bot.user_id)),
                    BOT.value_set(str(self._bot.bot_id)),
                    KIND.value_set(self._memory.kind),
                    VENUE.value_set(view.venue),
                    MODE.value_set(view.mode),
                    STATE.value_set(view.state),
                ]
            )
            self._memory = self._memory.model_copy(
                update={"venue": view.venue, "mode": view.mode, "state": view.state}
            )

    def _describe(self, doing: str) -> None:
        if doing and doing != self._doing:
            self._doing = doing
            workflow.set_current_details(
                f"**{self._memory.state or 'starting'}** on {self._memory.venue} "
                f"({self._memory.mode}), {self._view.open_positions} open positions\n\n{doing}"
            )


def _hunt_summary(signals: tuple[TradeSignal, ...]) -> str:
    return f"{len(signals)} signals and new bars" if signals else "new bars"
