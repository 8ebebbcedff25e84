"""The next try of an exit, by how the ones before it went: when, how large, of what kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.exits import (
    TOO_LARGE_KEPT,
    TooLarge,
    exit_limit_price,
    largest_found,
    largest_order,
)
from domain.markets import MarketRules, MarketStatus
from domain.money import ZERO, ceil_to_step, floor_to_step
from domain.orders import Leg, OrderState, OrderType, Side
from domain.positions import Direction
from models.trading import Order, Position
from services.orders.dust import BY_RULES, INSUFFICIENT_FUNDS, TOO_MUCH, WRONG_TYPE, last_price
from services.orders.market_rules import rules_from_record
from services.orders.refusals import is_judged

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0
RETRY_DOUBLINGS_MAX = 6
"""Enough to reach the longest delay; a power of two that grows for ever leaves the numbers."""

ADAPTED_AT_ONCE_MAX = 12
"""Tries in a row without a delay because each is made in another form than the refused one."""

_OF_NO_KIND = BY_RULES | {INSUFFICIENT_FUNDS, "no_liquidity"}
"""Judgements of an order that one of another kind would meet with as well."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Earlier attempts at an exit.

    Attributes:
        made: how many there were.
        in_vain: how many came after the last one that filled anything.
        too_large: those of the last day that were refused as too large for one order.
        wrong_type: how many were refused for their kind.
        latest: the latest.
    """

    made: int
    in_vain: int
    too_large: Sequence[TooLarge]
    wrong_type: int
    latest: Order | None


@dataclass(frozen=True, slots=True)
class OrderForm:
    """Size (base currency), kind and worst price (quote currency; None at the market)."""

    quantity: Decimal
    type: OrderType
    limit_price: Decimal | None


async def earlier_attempts(
    session: AsyncSession, position: Position, cause: str, leg: Leg, now: datetime
) -> Attempts:
    """How the orders of one exit went until now, wall time."""
    same_exit = (
        (col(Order.account_id) == position.account_id)
        & (col(Order.run_id) == position.run_id)
        & (col(Order.cause) == cause)
        & (col(Order.leg) == leg.value)
    )
    row = (
        await session.exec(
            select(
                func.max(Order.attempt),
                func.max(Order.attempt).filter(col(Order.filled_quantity) > ZERO),
                func.count().filter(col(Order.refusal_code).in_(TOO_MUCH)),
                func.count().filter(col(Order.refusal_code) == WRONG_TYPE),
            ).where(same_exit)
        )
    ).one()
    made, filled = int(row[0] or 0), int(row[1] or 0)
    latest = None
    if made:
        latest = (
            await session.exec(select(Order).where(same_exit, Order.attempt == made))
        ).one_or_none()
    too_large = await _too_large(session, same_exit, now) if row[2] else ()
    return Attempts(made, made - filled, too_large, int(row[3]), latest)


async def _too_large(
    session: AsyncSession, same_exit: ColumnElement[bool], now: datetime
) -> Sequence[TooLarge]:
    rows = await session.exec(
        select(col(Order.quantity), col(Order.settled_at)).where(
            same_exit,
            col(Order.refusal_code).in_(TOO_MUCH),
            col(Order.settled_at) > now - TOO_LARGE_KEPT,
        )
    )
    return tuple(TooLarge(size, at) for size, at in rows.all() if at is not None)


def wait_before_retry(earlier: Attempts, now: datetime) -> float:
    """Seconds until the next try.

    Longer after each that filled nothing; an exit that gets on does not slow down, and what is made
    in another form than the one that was refused need not wait.
    """
    latest = earlier.latest
    if latest is None or latest.settled_at is None or latest.state == OrderState.FILLED:
        return 0.0
    is_adapted = latest.refusal_code in TOO_MUCH or latest.refusal_code == WRONG_TYPE
    if is_adapted and earlier.in_vain <= ADAPTED_AT_ONCE_MAX:
        return 0.0
    doublings = min(max(earlier.in_vain - 1, 0), RETRY_DOUBLINGS_MAX)
    delay = min(RETRY_SECONDS_FIRST * 2**doublings, RETRY_SECONDS_MAX)
    return (latest.settled_at + timedelta(seconds=delay) - now).total_seconds()


async def fit_order(
    session: AsyncSession,
    position: Position,
    quantity: Decimal,
    earlier: Attempts,
    now: datetime,
) -> OrderForm:
    """Make an order that the market and the account take, of what is to leave.

    What does not fit into one order is left to the next.

    Args:
        session: the transaction that makes the order.
        position: what it leaves; locked.
        quantity: what is to leave, in the base currency and whole steps.
        earlier: how the tries before went.
        now: wall time.
    """
    rules = rules_from_record(position.rules)
    price = await last_price(session, position)
    size = largest_order(_free(position, quantity, rules, price), rules, price=price)
    size = min(size, largest_found(earlier.too_large, rules, price=price, now=now) or size)
    if not _calls_for_limit(rules, earlier):
        return OrderForm(size, OrderType.MARKET, None)
    reference = price or position.stop_loss or position.decision_price
    return OrderForm(size, OrderType.LIMIT, bound(position, size, reference, earlier.in_vain))


def bound(position: Position, quantity: Decimal, reference: Decimal, tries: int) -> Decimal:
    """The worst price of a limit exit, in the quote currency."""
    rules = rules_from_record(position.rules)
    side = Direction(position.side).exit_side
    limit = exit_limit_price(side, reference, rules, tries=tries)
    if side is Side.SELL:
        # The order's value is counted at its limit: what is worth enough must not seem too little.
        least = ceil_to_step(rules.notional_min / quantity, rules.price_step)
        if limit < least <= reference:
            return least
    return limit


def _free(
    position: Position, quantity: Decimal, rules: MarketRules, price: Decimal | None
) -> Decimal:
    """What the venue had free of it when it last refused more.

    All of it where that is less than one order has to have: an order for so little is refused
    whatever becomes free, one for all of it is not.
    """
    if position.sellable_quantity is None:
        return quantity
    free = floor_to_step(position.sellable_quantity, rules.quantity_step)
    is_enough = free > ZERO and free >= rules.quantity_min
    if price is not None and free * price < rules.notional_min:
        is_enough = False
    return min(quantity, free) if is_enough else quantity


def _calls_for_limit(rules: MarketRules, earlier: Attempts) -> bool:
    if rules.status is MarketStatus.LIMIT_ONLY or earlier.wrong_type:
        return True
    latest = earlier.latest
    # Refused for a reason that we have no name for: perhaps for what kind of order it was.
    return (
        latest is not None
        and is_judged(latest.refusal_code)
        and latest.refusal_code not in _OF_NO_KIND
        and latest.type == OrderType.MARKET
    )
