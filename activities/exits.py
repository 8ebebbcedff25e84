"""What the workflow of a bot's exits asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from domain.contracts.bots import BotRef
from domain.contracts.exits import ExitsDue

if TYPE_CHECKING:
    from services.trading.exiting import ExitService


class ExitActivities:
    """Making exit orders, one service call. Called locally: it is short and may be repeated."""

    def __init__(self, exits: ExitService) -> None:
        self._exits = exits

    @activity.defn(name="exits.make_due")
    async def make_due(self, bot: BotRef) -> ExitsDue:
        """Commit the exit orders that are due and list the live ones. Needs no market data."""
        return await self._exits.make_due(bot)
