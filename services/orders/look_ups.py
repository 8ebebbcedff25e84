"""What a venue shows of an order, however it has to be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from domain.money import ZERO
from domain.orders import FillReport, OrderReport
from domain.ports import VenueAccount
from domain.reconciliation import OurOrder
from models.trading import Order

LOOKUP_MARGIN = timedelta(minutes=5)
"""How long before the recorded sending a look-up starts, for clocks that disagree."""

LOOKUP_MARGIN_WIDE = timedelta(days=1)
"""The same before an order is taken for absent: the venue's clock may have been ahead when it was
sent, and its order then lies before the times that we noted."""

FILLS_MARGIN = timedelta(days=30)
"""The same for the fills of an order that is named; nothing else is listed with them."""

Seen = tuple[OrderReport | None, Sequence[FillReport]]
"""What a venue shows of an order: its report, if it lists it, and its fills."""


async def look_up(account: VenueAccount, order: Order) -> Seen:
    """What the venue shows of an order: its report, if it lists it, and its fills."""
    report = await _find(account, order, _first_time(order) - LOOKUP_MARGIN)
    known_as = order.venue_order_id if report is None else report.venue_order_id
    if known_as is None:
        return report, ()
    return report, await _fills_of(account, order, known_as)


async def look_up_widely(account: VenueAccount, order: Order) -> Seen:
    """A last look for an order that is about to be taken for absent, further back."""
    since = _first_time(order) - LOOKUP_MARGIN_WIDE
    report = await account.find_order(order.client_order_id, order.symbol, since=since)
    if report is None:
        return None, ()
    return report, await _fills_of(account, order, report.venue_order_id)


def _first_time(order: Order) -> datetime:
    """A venue time before which an order was not sent, unless the venue's clock was wrong then.

    Intended at a time that the venue's clock had shown; sent at one that may have been reckoned.
    Where the venue's time is ours, our own clock says so too.
    """
    first = order.venue_first_sent_at or order.venue_sent_at or order.created_at
    return min(first, order.created_at, order.intended_at)


async def _fills_of(
    account: VenueAccount, order: Order, venue_order_id: str
) -> Sequence[FillReport]:
    since = _first_time(order) - FILLS_MARGIN
    return await account.fills(symbol=order.symbol, venue_order_id=venue_order_id, since=since)


def filled_of(ours: OurOrder, fills: Sequence[FillReport]) -> Decimal:
    """What is known to be filled of an order, booked or not."""
    by_id = dict(ours.fills or {}) | {
        fill.venue_fill_id: fill.quantity
        for fill in fills
        if fill.venue_order_id == ours.venue_order_id
    }
    return sum(by_id.values(), ZERO)


async def _find(account: VenueAccount, order: Order, since: datetime) -> OrderReport | None:
    if order.venue_order_id is not None:
        report = await account.order(order.venue_order_id, order.symbol)
        if report is not None:
            return report
    return await account.find_order(order.client_order_id, order.symbol, since=since)
