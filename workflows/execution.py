"""Carrying orders out inside a workflow: each by a task of its own, sent at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.orders import OrderActivities
    from domain.contracts.bots import OrderInput, OrderResult, OrderTask
    from domain.orders import OrderState
    from workflows import policies


class OrderExecution:
    """The orders of one bot that this run of its workflow carries out.

    Args:
        user_id: whose orders they are.
        on_due: called when the rows have to be read again after an order came to something.
    """

    def __init__(self, user_id: UUID, on_due: Callable[[], None]) -> None:
        self._user_id = user_id
        self._on_due = on_due
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._sending: set[UUID] = set()
        self._refused_keys: dict[UUID, int] = {}

    @property
    def count(self) -> int:
        """How many orders are being carried out."""
        return len(self._tasks)

    @property
    def is_sending(self) -> bool:
        """Whether a send is on its way; a run must not end before it has."""
        return bool(self._sending)

    def carry_out(self, orders: tuple[OrderTask, ...], *, closing: bool) -> None:
        """Begin with the orders that have no task yet.

        A run that is closing still sends, and leaves looking up to the next one.
        """
        for order in orders:
            if self._refused_keys.get(order.order_id, order.keys) != order.keys:
                del self._refused_keys[order.order_id]  # they were replaced: it need not wait
            is_wanted = order.state is OrderState.INTENDED or not closing
            if is_wanted and order.order_id not in self._tasks:
                self._tasks[order.order_id] = asyncio.create_task(self._carry_out_one(order))

    async def _carry_out_one(self, order: OrderTask) -> None:
        """Send and settle one order, then have the rows read for what has become of it."""
        request = OrderInput(user_id=self._user_id, order_id=order.order_id)
        result = OrderResult(state=order.state)
        try:
            if result.state is OrderState.INTENDED:
                result = await self._place(request, order)
            if not result.state.is_final:
                result = await self._settle(request, order)
            if not result.state.is_final:
                await self._delay(order, result)
        except ActivityError:
            # Sending or looking up did not end. The row says how far it came.
            await workflow.sleep(policies.UNSETTLED_PAUSE)
        finally:
            del self._tasks[order.order_id]
            if result.guard_due or not result.state.is_final:
                self._on_due()

    async def _delay(self, order: OrderTask, result: OrderResult) -> None:
        """Wait before the next look-up; with keys that are refused, until there are others."""
        seconds = result.keys_refused_seconds
        if seconds is None:
            await workflow.sleep(policies.UNSETTLED_PAUSE)
            return
        self._refused_keys[order.order_id] = order.keys
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: order.order_id not in self._refused_keys,
                timeout=timedelta(seconds=seconds),
            )
        self._refused_keys.pop(order.order_id, None)

    async def _place(self, request: OrderInput, order: OrderTask) -> OrderResult:
        self._sending.add(order.order_id)
        try:
            return await workflow.execute_activity_method(
                OrderActivities.place,
                request,
                summary=f"send {order.leg} {order.symbol}",
                **policies.PLACE,
            )
        finally:
            self._sending.discard(order.order_id)

    async def _settle(self, request: OrderInput, order: OrderTask) -> OrderResult:
        return await workflow.execute_activity_method(
            OrderActivities.settle,
            request,
            summary=f"look up {order.leg} {order.symbol}",
            **policies.SETTLE,
        )
