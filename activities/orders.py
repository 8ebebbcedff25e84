"""Sending an order once, and settling what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.bots import OrderInput, OrderResult

if TYPE_CHECKING:
    from services.orders.placing import OrderPlacing
    from services.orders.settling import OrderSettling


class OrderActivities:
    """Placing and settling, one service call each."""

    def __init__(self, placing: OrderPlacing, settling: OrderSettling) -> None:
        self._placing = placing
        self._settling = settling

    @activity.defn(name="orders.place")
    async def place(self, request: OrderInput) -> OrderResult:
        """Send an intended order once. Does nothing for an order that is past being intended."""
        async with heartbeating():
            return await self._placing.place(request.user_id, request.order_id)

    @activity.defn(name="orders.settle")
    async def settle(self, request: OrderInput) -> OrderResult:
        """Look the order up at the venue and book what is found."""
        async with heartbeating():
            return await self._settling.settle_or_delay(request.user_id, request.order_id)
