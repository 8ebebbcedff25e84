"""What a bot's workflow asks for: guarding its positions and hunting for entries."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import BotRef, GuardResult, HuntInput, HuntResult, OrderTask
from domain.orders import Leg
from domain.ports import WorkflowServiceUnavailable

if TYPE_CHECKING:
    from domain.ports import WorkflowService
    from services.trading.guarding import GuardService
    from services.trading.hunting import HuntService


EXITS_RECHECK_SECONDS = 3.0
"""How soon a bot that takes no more entries is guarded again while its exits are carried out."""


class BotActivities:
    """Guarding and hunting, one service call each.

    The exit orders that either finds are not the main worker's to carry out: they are left out of
    the result, and the workflow in the exits worker is woken for them.
    """

    def __init__(self, guard: GuardService, hunt: HuntService, exits: WorkflowService) -> None:
        self._guard = guard
        self._hunt = hunt
        self._exits = exits

    @activity.defn(name="bots.guard")
    async def guard(self, bot: BotRef) -> GuardResult:
        """Make the exits that are due and list the bot's live orders. Needs no market data."""
        async with heartbeating():
            found = await self._guard.guard(bot)
            entries = _entries(found.orders)
            if entries == found.orders:
                return found
            await self._wake_exits(bot)
        recheck = found.recheck_seconds
        if not found.may_enter:  # its run, or all of it, may end once they are through
            recheck = min(recheck or EXITS_RECHECK_SECONDS, EXITS_RECHECK_SECONDS)
        return found.model_copy(update={"orders": entries, "recheck_seconds": recheck})

    @activity.defn(name="bots.hunt")
    async def hunt(self, request: HuntInput) -> HuntResult:
        """Decide on new bars and signals; commit intents; return the orders to send.

        A try before this one may have committed intents and died before it could name them: the
        guard lists those.
        """
        async with heartbeating():
            result = await self._hunt.hunt(request)
            entries = _entries(result.orders)
            if result.exits_requested or entries != result.orders:
                await self._wake_exits(request.bot)
                result = result.model_copy(update={"orders": entries})
        if activity.info().attempt > 1:
            return result.model_copy(update={"exits_requested": True})
        return result

    async def _wake_exits(self, bot: BotRef) -> None:
        with suppress(WorkflowServiceUnavailable):  # the exits worker sees the rows
            await self._exits.wake_exits(bot.user_id, bot.bot_id)


def _entries(orders: tuple[OrderTask, ...]) -> tuple[OrderTask, ...]:
    return tuple(order for order in orders if order.leg == Leg.ENTRY.value)
