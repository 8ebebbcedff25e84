"""The next try of an exit, by how the ones before it went: how large and of what kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import takewhile

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
from domain.orders import Leg, OrderType, Side
from domain.positions import Direction
from domain.refusals import FORM_REFUSED, TOO_MUCH, WRONG_TYPE
from models.trading import Fill, Order, Position
from services.orders.conditions import is_form_refused
from services.orders.dust import BY_RULES, INSUFFICIENT_FUNDS, last_price
from services.orders.market_rules import rules_from_record
from services.orders.refusals import is_judged

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
        failing_since: wall time at which the first of those was made.
        formless: how many of the latest in a row were refused for their size or kind, up to
            `ADAPTED_AT_ONCE_MAX`.
        too_large: those of the last day that were refused as too large for one order.
        is_wrong_type: whether one was refused for its kind.
        latest: the latest.
    """

    made: int
    in_vain: int
    failing_since: datetime | None
    formless: int
    too_large: Sequence[TooLarge]
    is_wrong_type: bool
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
    latest = (
        await session.exec(
            select(Order).where(same_exit).order_by(col(Order.attempt).desc()).limit(1)
        )
    ).first()
    if latest is None:
        return Attempts(0, 0, None, 0, (), is_wrong_type=False, latest=None)
    # By the fills, of which there are few where the tries are many.
    filled = (
        await session.exec(
            select(func.max(Order.attempt))
            .join(Fill, col(Fill.order_id) == Order.id)
            .where(Fill.position_id == position.id, same_exit)
        )
    ).one()
    first_in_vain = (
        await session.exec(
            select(col(Order.intended_at)).where(same_exit, col(Order.attempt) == (filled or 0) + 1)
        )
    ).first()
    refused = (col(Order.position_id) == position.id) & is_form_refused() & same_exit
    return Attempts(
        made=latest.attempt,
        in_vain=latest.attempt - (filled or 0),
        failing_since=first_in_vain,
        formless=await _formless(session, same_exit, latest),
        too_large=await _too_large(session, refused, now),
        is_wrong_type=await _is_wrong_type(session, refused),
        latest=latest,
    )


async def _formless(session: AsyncSession, same_exit: ColumnElement[bool], latest: Order) -> int:
    """How many of the latest tries in a row were refused for their form, as far as it matters."""
    if latest.refusal_code not in FORM_REFUSED:
        return 0
    codes = await session.exec(
        select(col(Order.refusal_code))
        .where(same_exit)
        .order_by(col(Order.attempt).desc())
        .limit(ADAPTED_AT_ONCE_MAX)
    )
    return sum(1 for _ in takewhile(lambda code: code in FORM_REFUSED, codes.all()))


async def _too_large(
    session: AsyncSession, refused: ColumnElement[bool], now: datetime
) -> Sequence[TooLarge]:
    rows = await session.exec(
        select(col(Order.quantity), col(Order.settled_at)).where(
            refused,
            col(Order.refusal_code).in_(TOO_MUCH),
            col(Order.settled_at) > now - TOO_LARGE_KEPT,
        )
    )
    return tuple(TooLarge(size, at) for size, at in rows.all() if at is not None)


async def _is_wrong_type(session: AsyncSession, refused: ColumnElement[bool]) -> bool:
    found = await session.exec(
        select(Order.id).where(refused, col(Order.refusal_code) == WRONG_TYPE).limit(1)
    )
    return found.first() is not None


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
    if rules.status is MarketStatus.LIMIT_ONLY or earlier.is_wrong_type:
        return True
    latest = earlier.latest
    # Refused for a reason that we have no name for: perhaps for what kind of order it was.
    return (
        latest is not None
        and is_judged(latest.refusal_code)
        and latest.refusal_code not in _OF_NO_KIND
        and latest.type == OrderType.MARKET
    )
