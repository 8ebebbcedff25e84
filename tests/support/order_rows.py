"""Orders of one bot as the database would hold them, and activities that act on them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.beating import heartbeating
from domain.contracts.bots import BotRef, OrderInput, OrderResult, OrderTask
from domain.orders import Leg, OrderState

KEYS_PAUSE = 3_600.0


@dataclass
class OrderRows:
    """What the database would hold of one bot's orders, and what was asked of it."""

    ref: BotRef = field(default_factory=lambda: BotRef(user_id=uuid4(), bot_id=uuid4()))
    orders: dict[UUID, OrderTask] = field(default_factory=dict)
    places_as: dict[UUID, OrderState] = field(default_factory=dict)
    settles_as: dict[UUID, OrderState] = field(default_factory=dict)
    refuses_keys: set[UUID] = field(default_factory=set)
    place_fails: set[UUID] = field(default_factory=set)
    place_holds: asyncio.Event | None = None
    placed: Counter[UUID] = field(default_factory=Counter)
    settled: Counter[UUID] = field(default_factory=Counter)

    def intend(self, leg: Leg = Leg.STOP) -> OrderTask:
        """An order that the next reading of the rows lists."""
        task = OrderTask(
            order_id=uuid4(), state=OrderState.INTENDED, leg=leg.value, symbol="BTC-USD"
        )
        self.orders[task.order_id] = task
        return task


class FakeOrderActivities:
    """Acts on `OrderRows`, as the services act on the database."""

    def __init__(self, rows: OrderRows) -> None:
        self._orders = rows

    @activity.defn(name="orders.place")
    async def place(self, request: OrderInput) -> OrderResult:
        rows = self._orders
        rows.placed[request.order_id] += 1
        async with heartbeating():
            if rows.place_holds is not None:
                await rows.place_holds.wait()
        if request.order_id in rows.place_fails:
            rows.place_fails.discard(request.order_id)
            raise ApplicationError("the venue cannot be reached")
        return self._end(request, rows.places_as.get(request.order_id, OrderState.FILLED))

    @activity.defn(name="orders.settle")
    async def settle(self, request: OrderInput) -> OrderResult:
        rows = self._orders
        rows.settled[request.order_id] += 1
        if request.order_id in rows.refuses_keys:
            return OrderResult(state=OrderState.UNKNOWN, keys_refused_seconds=KEYS_PAUSE)
        return self._end(request, rows.settles_as.get(request.order_id, OrderState.FILLED))

    def _end(self, request: OrderInput, state: OrderState) -> OrderResult:
        orders = self._orders.orders
        known = orders.get(request.order_id)
        if known is not None:
            if state.is_final:
                del orders[request.order_id]
            else:
                orders[request.order_id] = known.model_copy(update={"state": state})
        return OrderResult(state=state)
