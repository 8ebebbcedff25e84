"""When an exit is sent again under its client order id, and having it sent.

Only where a venue answers an id that it knows with the order that it has: whatever a listing does,
lags or fails, a repetition makes no second order there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from domain.money import ZERO
from domain.orders import Leg, OrderState
from models.trading import Order
from services.database import Database
from services.orders.refusals import REPETITION_WITHHELD, is_judged
from services.orders.row_locks import LockRetry, lock_position_and_order

RESEND_AFTER = timedelta(seconds=5)
"""Wall time since an exit was sent after which it is sent again if the venue does not list it and
repeating a client order id makes no second order there; longer after each time.

It is less than a send may take: a request that was lost and a venue that is slow look the same, and
an exit must not wait for the one because of the other. A slow venue may so be sent an exit again
that it is about to answer; each answer counts (`services.orders.refusals`), and no send follows one
that was judged where a look-up can tell what became of the others."""

RESEND_DOUBLINGS_MAX = 2
"""So the delays become no longer than 20 s: a venue that is back has the exit soon."""

JUDGED_GRACES = 2
"""Graces since an exit was sent, of which a send was judged, after which it is sent again while no
look-up is answered. In the second of them one answer is enough to find it absent, and then the
next exit leaves in another form; each repetition begins the grace anew."""

_log = structlog.get_logger("nija.orders")


class OrderResending:
    """Has exits sent again.

    Args:
        database: where their rows are.
        lock_retry: carries transactions out while others hold the rows.
        grace: how long an order that is not listed is not yet absent.
    """

    def __init__(self, database: Database, lock_retry: LockRetry, grace: timedelta) -> None:
        self._database = database
        self._lock_retry = lock_retry
        self._grace = grace

    def may(self, order: Order) -> bool:
        """Whether an order that is not listed is sent again: an exit of which no send was judged.

        Another send would meet with the same; what is left open is whether one before it arrived.
        So it is of one that was withheld: what is left of its position does not grow again.
        """
        if order.leg == Leg.ENTRY or order.refusal_code == REPETITION_WITHHELD:
            return False
        return not is_judged(order.refusal_code)

    def is_due(self, order: Order, now: datetime) -> bool:
        """Whether an exit that the venue does not list is to be sent again, at wall time `now`."""
        if order.sent_at is None:
            return False
        if OrderState(order.state).needs_lookup:
            return now - order.sent_at >= _delay(order)
        if order.state != OrderState.OPEN or order.missed_at is None:
            return False
        return now - order.missed_at >= self._grace

    def unseen_due_at(self, order: Order) -> datetime | None:
        """Wall time from when an order is sent again although the venue cannot be asked for it.

        The answer to the repetition then tells what a look-up would. That is so for an exit of
        unknown fate that the venue never showed: one that it accepted may rest there, partly
        filled, and is not sent again before a look-up has missed it. A refusal may have been of its
        moment, so one that was judged is sent again too, later.

        Returns:
            None for an order that is not sent again then.
        """
        is_unseen = order.venue_order_id is None and order.filled_quantity == ZERO
        is_unknown = OrderState(order.state).needs_lookup
        if order.leg == Leg.ENTRY or order.sent_at is None or not (is_unseen and is_unknown):
            return None
        if order.refusal_code == REPETITION_WITHHELD:
            return None
        delay = _delay(order)
        if is_judged(order.refusal_code):
            delay = max(delay, JUDGED_GRACES * self._grace)
        return order.sent_at + delay

    async def resend(self, order: Order) -> Order:
        """Let an exit be sent once more under its client order id; its row stays the same.

        Nothing is done where a send, an answer or another look-up has changed it since it was read.

        Returns:
            The row as it is now.
        """

        async def intend() -> Order:
            async with self._database.for_user(order.user_id) as session:
                _position, row = await lock_position_and_order(session, order.id, waits=False)
                if _version(row) != _version(order):
                    return row
                row.state = OrderState.INTENDED
                row.missed_at = None
                session.add(row)
            _log.warning(
                "order.resend",
                order_id=str(order.id),
                leg=order.leg,
                symbol=order.symbol,
                sends=order.sends,
            )
            return row

        return await self._lock_retry.carry_out(order.account_id, intend)


def _delay(order: Order) -> timedelta:
    return RESEND_AFTER * (1 << min(max(order.sends - 1, 0), RESEND_DOUBLINGS_MAX))


def _version(order: Order) -> tuple[object, ...]:
    """What sends, answers and look-ups change of a row."""
    return (
        order.state,
        order.sends,
        order.refused_sends,
        order.filled_quantity,
        order.venue_order_id,
        order.missed_at,
    )
