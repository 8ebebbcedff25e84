"""Finding out what became of an order, and booking it.

The venue's own report is the only source. An order that is not listed is not absent until a grace
period of venue time has passed since it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlmodel import select

from domain.contracts.bots import OrderResult
from domain.markets import VenueKey
from domain.money import ZERO
from domain.orders import FillReport, OrderReport, OrderState
from domain.ports import AccountRef, VenueAccount, Venues, WallClock
from models.trading import Order
from services.accounts import account_ref
from services.database import Database
from services.orders.booking import book

LOOKUP_MARGIN = timedelta(minutes=5)
"""How long before the recorded sending a look-up starts, for clocks that disagree."""

_log = structlog.get_logger("nija.orders")


class OrderSettling:
    """Looks orders up and books what is found."""

    def __init__(
        self, database: Database, venues: Venues, clock: WallClock, *, grace: timedelta
    ) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock
        self._grace = grace

    async def result(self, user_id: UUID, order_id: UUID) -> OrderResult:
        """Where an order stands by our own books."""
        order, _ref = await self._load(user_id, order_id)
        return _result(order)

    async def settle(self, user_id: UUID, order_id: UUID) -> OrderResult:
        """Look an order up and book it. An order never sent, or final, is left alone.

        Raises:
            VenueUnavailable, VenueRefusedKeys: the venue could not be asked.
        """
        order, ref = await self._load(user_id, order_id)
        if OrderState(order.state).is_final or order.state == OrderState.INTENDED:
            return _result(order)
        sent_at = order.venue_sent_at or order.created_at
        account = await self._venues.account(ref)
        now = (await self._venues.market_data(VenueKey(ref.venue, ref.realm)).clock()).now
        report = await self._find(account, order, sent_at)
        if report is None:
            return await self._not_listed(order, now, sent_at)
        fills = await account.fills(
            symbol=order.symbol,
            venue_order_id=report.venue_order_id,
            since=sent_at - LOOKUP_MARGIN,
        )
        return await self._book(order, report, fills, now)

    async def _load(self, user_id: UUID, order_id: UUID) -> tuple[Order, AccountRef]:
        async with self._database.for_user(user_id) as session:
            order = (await session.exec(select(Order).where(Order.id == order_id))).one()
            return order, await account_ref(session, order.account_id)

    async def _find(
        self, account: VenueAccount, order: Order, sent_at: datetime
    ) -> OrderReport | None:
        if order.venue_order_id is not None:
            return await account.order(order.venue_order_id, order.symbol)
        return await account.find_order(
            order.client_order_id, order.symbol, since=sent_at - LOOKUP_MARGIN
        )

    async def _not_listed(self, order: Order, now: datetime, sent_at: datetime) -> OrderResult:
        """Absent only after the grace period; an order the venue once accepted is never absent."""
        if order.venue_order_id is not None or now - sent_at <= self._grace:
            return _result(order)
        async with self._database.for_user(order.user_id) as session:
            order = await book(
                session,
                order.id,
                fills=(),
                state=OrderState.ABSENT,
                at=now,
                wall=self._clock.now(),
                refusal=("absent", "The venue never had the order"),
            )
        _log.warning("order.absent", order_id=str(order.id), symbol=order.symbol)
        return _result(order)

    async def _book(
        self, order: Order, report: OrderReport, fills: Sequence[FillReport], now: datetime
    ) -> OrderResult:
        state = report.state
        listed = sum((fill.quantity for fill in fills), ZERO)
        if state.is_final and listed < report.filled_quantity:
            # The order is over but its executions are not all listed yet: keep it open until they
            # are.
            state = OrderState.OPEN
        before = order.filled_quantity
        async with self._database.for_user(order.user_id) as session:
            order = await book(
                session,
                order.id,
                fills=fills,
                state=state,
                venue_order_id=report.venue_order_id,
                at=now,
                wall=self._clock.now(),
            )
        if order.filled_quantity != before or state.is_final:
            _log.info(
                "order.settled",
                order_id=str(order.id),
                leg=order.leg,
                symbol=order.symbol,
                side=order.side,
                state=order.state,
                filled_quantity=str(order.filled_quantity),
            )
        return _result(order)


def _result(order: Order) -> OrderResult:
    return OrderResult(state=OrderState(order.state), filled_quantity=order.filled_quantity)
