"""How a paper order executes: against the imitated venue's order book, by price, then by nothing.

The rules are those of the exchange simulator's matching for a taker, so a strategy run on paper
and run live against the simulator makes the same fills to the last digit:

- levels are taken from the best price on, at the level's own price, never beyond the limit price;
- the fee of each fill is rate x notional, rounded down to 1e-16 of the quote currency;
- what an immediate order cannot fill is cancelled; fill-or-kill fills all or nothing;
- a market order that meets no liquidity is refused, and so is a post-only order that would trade;
- a limit buy needs its whole notional at the limit price plus the taker's fee, rounded up; a
  market buy needs what it costs; a sale needs the quantity.

Everything is derived from the order's client id: the same order has the same ids, however often it
is executed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from domain.markets import BookLevel, FeeRates, OrderBook
from domain.money import ZERO
from domain.orders import (
    FillReport,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Refused,
    Side,
    TimeInForce,
)

FEE_QUANTUM = Decimal("1e-16")
_PAPER_NAMESPACE = uuid.UUID("0d5b0c1e-7f5a-5c58-9f0c-7a1f4bb9f1a3")


@dataclass(frozen=True, slots=True)
class Take:
    """What one level of the book gives."""

    price: Decimal
    quantity: Decimal
    fee: Decimal

    @property
    def notional(self) -> Decimal:
        """Value in the quote currency, without the fee."""
        return self.price * self.quantity


@dataclass(frozen=True, slots=True)
class Execution:
    """What becomes of an order at once.

    Attributes:
        takes: in the order of execution.
        state: filled, cancelled (what could not be filled is gone) or open (it rests).
    """

    takes: tuple[Take, ...]
    state: OrderState

    @property
    def filled_quantity(self) -> Decimal:
        """Base quantity of all takes."""
        return sum((take.quantity for take in self.takes), ZERO)

    @property
    def notional(self) -> Decimal:
        """Value of all takes in the quote currency, without fees."""
        return sum((take.notional for take in self.takes), ZERO)


@dataclass(frozen=True, slots=True)
class Funds:
    """How much of which currency an order must have available."""

    currency: str
    amount: Decimal


def execute(request: OrderRequest, book: OrderBook, fees: FeeRates) -> Execution | Refused:
    """Match an order against a book. The book is not changed: a paper trader moves no market.

    Invariants: the takes never exceed the quantity, no price is worse than the limit price, and
        prices only get worse.
    """
    takes = tuple(_takes(request, book, fees.taker_rate))
    if request.post_only and takes:
        return Refused("post_only_would_cross", "The order would have traded at once")
    if request.type is OrderType.MARKET and not takes:
        return Refused("no_liquidity", "Nobody offers the other side")
    if sum((take.quantity for take in takes), ZERO) == request.quantity:
        return Execution(takes, OrderState.FILLED)
    if request.time_in_force is TimeInForce.FOK:
        return Execution((), OrderState.CANCELLED)
    rests = request.type is OrderType.LIMIT and request.time_in_force is TimeInForce.GTC
    return Execution(takes, OrderState.OPEN if rests else OrderState.CANCELLED)


def funds_needed(
    request: OrderRequest, execution: Execution, fees: FeeRates, *, base: str, quote: str
) -> Funds:
    """What the account must have available for the order to be accepted."""
    if request.side is Side.SELL:
        return Funds(base, request.quantity)
    if request.limit_price is None or request.type is OrderType.MARKET:
        cost = sum((take.notional + take.fee for take in execution.takes), ZERO)
        return Funds(quote, cost)
    notional = request.quantity * request.limit_price
    held_fee = (notional * fees.taker_rate).quantize(FEE_QUANTUM, ROUND_CEILING)
    return Funds(quote, notional + held_fee)


def paper_order_id(account_id: uuid.UUID, client_order_id: str) -> str:
    """The paper venue's id of an order: one for each account and client order id."""
    return str(uuid.uuid5(_PAPER_NAMESPACE, f"{account_id}|{client_order_id}"))


def fill_reports(
    request: OrderRequest,
    execution: Execution,
    *,
    venue_order_id: str,
    fee_currency: str,
    at: datetime,
) -> list[FillReport]:
    """The takes as the venue reports them, with ids that a repetition repeats."""
    return [
        FillReport(
            venue_fill_id=str(uuid.uuid5(_PAPER_NAMESPACE, f"{venue_order_id}|{number}")),
            venue_order_id=venue_order_id,
            symbol=request.symbol,
            side=request.side,
            price=take.price,
            quantity=take.quantity,
            fee=take.fee,
            fee_currency=fee_currency,
            liquidity=Liquidity.TAKER,
            filled_at=at,
        )
        for number, take in enumerate(execution.takes)
    ]


def fee_of(notional: Decimal, rate: Decimal) -> Decimal:
    """The fee of one fill, rounded down so that many small fills never cost more than one large."""
    return (notional * rate).quantize(FEE_QUANTUM, ROUND_FLOOR)


def _takes(request: OrderRequest, book: OrderBook, rate: Decimal) -> Iterator[Take]:
    levels = book.asks if request.side is Side.BUY else book.bids
    left = request.quantity
    for level in levels:
        if left <= ZERO or not _is_acceptable(request, level):
            return
        quantity = min(level.quantity, left)
        left -= quantity
        yield Take(level.price, quantity, fee_of(level.price * quantity, rate))


def _is_acceptable(request: OrderRequest, level: BookLevel) -> bool:
    if request.type is OrderType.MARKET or request.limit_price is None:
        return True
    if request.side is Side.BUY:
        return level.price <= request.limit_price
    return level.price >= request.limit_price
