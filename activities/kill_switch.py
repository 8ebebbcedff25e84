"""What the kill switch's workflow asks for: rounds of telling and looking."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.kill_switches import (
    KillSwitchEnd,
    KillSwitchLook,
    KillSwitchPage,
    KillSwitchPageInput,
    KillSwitchRound,
)

if TYPE_CHECKING:
    from services.trading.kill_switch_rounds import KillSwitchRounds


class KillSwitchActivities:
    """Rounds, one service call each; all of them may run twice."""

    def __init__(self, rounds: KillSwitchRounds) -> None:
        self._rounds = rounds

    @activity.defn(name="kill_switch.begin")
    async def begin(self, switch_id: UUID) -> KillSwitchRound:
        """What of the switch has not been told."""
        async with heartbeating():
            return await self._rounds.begin(switch_id)

    @activity.defn(name="kill_switch.tell")
    async def tell(self, request: KillSwitchPageInput) -> KillSwitchPage:
        """Have positions leave, cancel intents, leave notices and nudge bots: one page of them."""
        async with heartbeating():
            return await self._rounds.tell(request.round, request.after)

    @activity.defn(name="kill_switch.look")
    async def look(self, due: KillSwitchRound) -> KillSwitchLook:
        """Count what is still open or on its way."""
        async with heartbeating():
            return await self._rounds.look(due)

    @activity.defn(name="kill_switch.finish")
    async def finish(self, end: KillSwitchEnd) -> None:
        """Store what came of the round."""
        async with heartbeating():
            await self._rounds.finish(end)
