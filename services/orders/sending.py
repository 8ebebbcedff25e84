"""The moment in which an order leaves: how long it may take, and what the venue is told."""

from __future__ import annotations

import asyncio

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from domain.markets import MarketRules
from domain.money import ZERO
from domain.orders import (
    CurrencyBalance,
    Leg,
    OrderRequest,
    OrderType,
    PlaceOutcome,
    Refused,
    Side,
    TimeInForce,
    Unknown,
)
from domain.ports import MarketData, VenueAccount, VenueRefusedKeys, VenueUnavailable
from models.trading import Order
from services.orders.dust import BY_RULES, INSUFFICIENT_FUNDS
from services.orders.settling import ENTRY_SEND_LENGTH_MAX, SEND_LENGTH_MAX

BALANCES_SECONDS_MAX = 3.0
"""How long a refusal for want of funds waits to be booked for what the account has free."""

RULES_SECONDS_MAX = 3.0
"""How long a refusal by the market's rules waits to be booked for the rules of now."""

_log = structlog.get_logger("nija.orders")


def deadline(*, is_entry: bool) -> float:
    """When a send that is marked from now on must have ended, by the loop's clock."""
    length = ENTRY_SEND_LENGTH_MAX if is_entry else SEND_LENGTH_MAX
    return asyncio.get_running_loop().time() + length.total_seconds()


async def send_order(account: VenueAccount, order: Order, until: float) -> PlaceOutcome:
    """Send; a venue that takes longer than any send may has given no answer.

    What a paper ledger's database raises once the time is over is no answer either: a statement
    that is cut off may end in an error of the driver's.
    """
    if asyncio.get_running_loop().time() >= until:
        return Refused("sent_too_late", "Marking it took longer than a send may; it never left")
    try:
        async with asyncio.timeout_at(until):
            return await account.place(request_of(order))
    except TimeoutError:
        return Unknown("The venue did not answer in time")
    except (SQLAlchemyError, psycopg.Error) as failure:
        if asyncio.get_running_loop().time() < until:
            raise
        _log.warning("order.send_broke_off", error=type(failure).__name__)
        return Unknown("The venue did not answer in time")


async def free_after_refusal(
    account: VenueAccount, order: Order, outcome: Refused | Unknown
) -> CurrencyBalance | None:
    """What the account has free for an exit that was refused for want of funds, if it says so."""
    is_short = isinstance(outcome, Refused) and outcome.code == INSUFFICIENT_FUNDS
    if not is_short or order.leg == Leg.ENTRY or order.side == Side.BUY:
        return None
    base = order.symbol.partition("-")[0]
    try:
        async with asyncio.timeout(BALANCES_SECONDS_MAX):
            balances = await account.balances()
    except (TimeoutError, VenueUnavailable, VenueRefusedKeys):
        return None
    free = balances.get(base, CurrencyBalance(base, ZERO))
    return free if free.is_known else None


async def rules_after_refusal(
    market_data: MarketData, order: Order, outcome: Refused | Unknown
) -> MarketRules | None:
    """The market's present rules, where an exit was refused for them."""
    is_by_rules = isinstance(outcome, Refused) and outcome.code in BY_RULES
    if not is_by_rules or order.leg == Leg.ENTRY:
        return None
    try:
        async with asyncio.timeout(RULES_SECONDS_MAX):
            rules = await market_data.fresh_rules()
    except (TimeoutError, VenueUnavailable, VenueRefusedKeys):
        return None  # the next refusal asks again
    return rules.get(order.symbol)


def request_of(order: Order) -> OrderRequest:
    """What the venue is told of an order."""
    return OrderRequest(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=Side(order.side),
        type=OrderType(order.type),
        quantity=order.quantity,
        limit_price=order.limit_price,
        time_in_force=TimeInForce(order.time_in_force),
        is_repetition=order.sends > 1,
    )
