"""Cancelling an order that should have ended by itself and did not.

Orders of ours are immediate: one that the venue still calls open or pending after a bound may fill
at any moment, and nothing may take its place while it can. Cancelling ends *accepted*, *refused* or
*unknown*, and none of the three is the order's end: that is its final report, with what it filled.
The attempt is recorded before it leaves, its outcome when it is known.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from domain.orders import Accepted, Leg, OrderState, PlaceOutcome, Refused, TimeInForce, Unknown
from domain.ports import VenueAccount, WallClock
from domain.requests import Purpose, requests_for
from models.trading import CancelOutcome, Order
from services.database import Database
from services.orders.row_locks import LockRetry, lock_position_and_order

STUCK_AFTER = timedelta(seconds=10)
"""Wall time since an immediate order was sent after which it is cancelled."""

CANCEL_SECONDS_MAX = 6.0
"""How long an answer to a cancellation is waited for."""

_PAUSE_FIRST = timedelta(seconds=5)
_PAUSE_DOUBLINGS_MAX = 4

_log = structlog.get_logger("nija.orders")


class OrderCancelling:
    """Cancels orders that are stuck at the venue."""

    def __init__(self, database: Database, clock: WallClock, lock_retry: LockRetry) -> None:
        self._database = database
        self._clock = clock
        self._lock_retry = lock_retry

    def is_due(self, order: Order) -> bool:
        """Whether an order that the venue still has open is to be cancelled, perhaps again."""
        now = self._clock.now()
        if order.sent_at is None or order.time_in_force == TimeInForce.GTC:
            return False
        if order.cancel_asked_at is not None:
            doublings = min(order.cancels - 1, _PAUSE_DOUBLINGS_MAX)
            return now - order.cancel_asked_at >= _PAUSE_FIRST * (1 << doublings)
        return now - order.sent_at >= STUCK_AFTER

    async def cancel(
        self, order: Order, account: VenueAccount, venue_order_id: str
    ) -> CancelOutcome | None:
        """Ask the venue to cancel an order, once.

        Args:
            order: as it was read before the look-up that found it open.
            account: where it is.
            venue_order_id: the venue's id of it.

        Returns:
            What became of the request; None if the order needs none any more.
        """
        if not await self._lock_retry.carry_out(
            order.account_id, lambda: self._record_attempt(order)
        ):
            return None
        outcome = await _ask(account, venue_order_id, order)
        result, reason = _recorded_as(outcome)

        async def record() -> None:
            async with self._database.for_user(order.user_id) as session:
                _position, row = await lock_position_and_order(session, order.id, waits=False)
                row.cancel_outcome, row.cancel_reason = result, reason
                session.add(row)

        await self._lock_retry.carry_out(order.account_id, record)
        _log.warning(
            "order.cancel_asked",
            order_id=str(order.id),
            leg=order.leg,
            symbol=order.symbol,
            outcome=result.value,
            reason=reason,
        )
        return result

    async def _record_attempt(self, order: Order) -> bool:
        async with self._database.for_user(order.user_id) as session:
            _position, row = await lock_position_and_order(session, order.id, waits=False)
            state = OrderState(row.state)
            if state.is_final or state is OrderState.INTENDED or row.cancels != order.cancels:
                return False
            row.cancels += 1
            row.cancel_asked_at = self._clock.now()
            row.cancel_outcome, row.cancel_reason = CancelOutcome.ASKING, None
            session.add(row)
        return True


async def _ask(account: VenueAccount, venue_order_id: str, order: Order) -> PlaceOutcome:
    purpose = Purpose.LOOK_UP if Leg(order.leg).is_entry else Purpose.EXIT
    try:
        with requests_for(purpose):
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                return await account.cancel(venue_order_id, order.symbol)
    except TimeoutError:
        return Unknown("The venue did not answer in time")


def _recorded_as(outcome: PlaceOutcome) -> tuple[CancelOutcome, str | None]:
    match outcome:
        case Accepted():
            return CancelOutcome.ACCEPTED, None
        case Refused(code, reason):
            return CancelOutcome.REFUSED, f"{code}: {reason}"
        case Unknown(reason):
            return CancelOutcome.UNKNOWN, reason
