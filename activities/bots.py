"""What a bot's workflow asks for: guarding its positions and hunting for entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import BotRef, GuardResult, HuntInput, HuntResult

if TYPE_CHECKING:
    from services.trading.guarding import GuardService
    from services.trading.hunting import HuntService


class BotActivities:
    """Guarding and hunting, one service call each."""

    def __init__(self, guard: GuardService, hunt: HuntService) -> None:
        self._guard = guard
        self._hunt = hunt

    @activity.defn(name="bots.guard")
    async def guard(self, bot: BotRef) -> GuardResult:
        """Make the exits that are due and list the bot's live orders. Needs no market data."""
        async with heartbeating():
            return await self._guard.guard(bot)

    @activity.defn(name="bots.hunt")
    async def hunt(self, request: HuntInput) -> HuntResult:
        """Decide on new bars and signals; commit intents; return the orders to send.

        A try before this one may have committed intents and died before it could name them: the
        guard lists those.
        """
        async with heartbeating():
            result = await self._hunt.hunt(request)
        if activity.info().attempt > 1:
            return result.model_copy(update={"exits_requested": True})
        return result
