"""What is left of a position and too little for the venue to take an order for.

Asked to leave, such a remainder would be refused for ever. It is recognised once, by the venue's
refusal and by the market's own minimums together, and the exit that showed it is marked. From then
on it counts as flat, as less than a quantity step does: it stays in the account's balance and is no
part of the trade.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketRules
from domain.money import ZERO, floor_to_step
from domain.orders import Leg
from domain.refusals import TOO_MUCH, WRONG_TYPE
from domain.strategies.apex import ExitPlan
from models.connections import Account
from models.markets import VenueQuote, VenueState
from models.trading import Order, Position

IMPRECISE = "quantity_precision"
"""Refusal code of an order whose quantity is no multiple of the market's step."""

PRICE_IMPRECISE = "price_precision"
"""Refusal code of an order whose limit is no multiple of the market's price step."""

DUST = "dust"
"""Refusal code of an exit that showed that what is left cannot be sold."""

_TOO_LITTLE = frozenset({"quantity_minimum", "notional_minimum"})

INSUFFICIENT_FUNDS = "insufficient_funds"
"""Refusal code of an exit for which the account has too little that is free."""

TOO_SMALL = _TOO_LITTLE | {IMPRECISE}
"""Refusal codes of an order that is less than the market trades."""

BY_RULES = TOO_SMALL | TOO_MUCH | {WRONG_TYPE, PRICE_IMPRECISE}
"""Refusal codes that tell of the market's rules for orders."""


async def is_dust(
    session: AsyncSession, position: Position, order: Order, code: str, rules: MarketRules
) -> bool:
    """Whether a refusal shows that nothing that is left of a position can be sold.

    The refusal alone is not believed: a venue that errs must not make us forget a position. The
    order has to cover all that is left, and to be below a minimum at the price last seen; or a
    single step has to be more than what is left.

    Args:
        session: the transaction that books the refusal.
        position: what the order was to leave; locked.
        order: the order that was refused.
        code: why.
        rules: minimums of the market.
    """
    if order.leg != Leg.ENTRY and code == IMPRECISE:
        return position.open_quantity < rules.quantity_step
    if order.leg == Leg.ENTRY or code not in _TOO_LITTLE:
        return False
    if order.quantity < floor_to_step(position.open_quantity, rules.quantity_step):
        return False
    if order.quantity < rules.quantity_min:
        return True
    price = await last_price(session, position)
    return price is not None and order.quantity * price < rules.notional_min


def learn_rules(position: Position, order: Order, rules: MarketRules) -> None:
    """Let a position leave by the limits and in the steps that its market has by now.

    A market may make them larger after an entry; by the old ones each exit would be refused for
    ever. For the steps the refusal alone is not believed here either: the order must not fit them.
    Nor is what is published alone: a larger quantity step is learned from a refusal of a quantity.

    Args:
        position: what the order was to leave; locked.
        order: the exit that was refused for them.
        rules: what the venue publishes.
    """
    position.rules = {
        **position.rules,
        "quantity_min": str(rules.quantity_min),
        "notional_min": str(rules.notional_min),
        "quantity_max": None if rules.quantity_max is None else str(rules.quantity_max),
        "notional_max": None if rules.notional_max is None else str(rules.notional_max),
        "status": rules.status.value,
    }
    if order.limit_price is not None and order.limit_price % rules.price_step:
        position.rules = {**position.rules, "price_step": str(rules.price_step)}
    step = rules.quantity_step
    if order.refusal_code not in TOO_SMALL or not order.quantity % step:
        return  # a step that nobody refused for could make a position flat that can be sold
    position.rules = {**position.rules, "quantity_step": str(step)}
    if position.exit_plan is not None:
        plan = ExitPlan.from_record(position.exit_plan)
        targets = (
            target
            if target.is_done
            else replace(target, quantity=floor_to_step(target.quantity, step))
            for target in plan.targets
        )
        position.exit_plan = replace(plan, targets=tuple(targets)).to_record()


def flat_below(latest: Order | None, rules: MarketRules) -> Decimal:
    """The quantity below which a position counts as flat: a step, or what was found to be dust.

    Args:
        latest: its latest exit; only this one tells, one that came after another was made because
            there was more to leave.
        rules: steps of the market.
    """
    dust = latest.quantity if latest is not None and latest.refusal_code == DUST else ZERO
    return dust + rules.quantity_step


async def last_price(session: AsyncSession, position: Position) -> Decimal | None:
    """The price of a position's market as the watch last saw it, in the quote currency."""
    found = await session.exec(
        select(col(VenueQuote.last))
        .join(
            VenueState,
            (col(VenueState.venue) == VenueQuote.venue)
            & (col(VenueState.realm) == VenueQuote.realm)
            & (col(VenueState.epoch) == VenueQuote.epoch),
        )
        .join(
            Account,
            (col(Account.venue) == VenueQuote.venue) & (col(Account.realm) == VenueQuote.realm),
        )
        .where(Account.id == position.account_id, VenueQuote.symbol == position.symbol)
    )
    return found.first()
