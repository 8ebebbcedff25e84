"""What size an exit order may have: cut to what is there, whole steps, no remainder to strand."""

from __future__ import annotations

from decimal import Decimal

from domain.markets import MarketRules
from domain.money import ZERO, floor_to_step


def partial_quantity(
    asked: Decimal, remaining: Decimal, rules: MarketRules, *, price: Decimal | None
) -> Decimal:
    """What to close of a position when a part of it is to leave, in the base currency.

    All that remains is closed where the rest would be too little to be sold by itself: a stop could
    not protect it.

    Args:
        asked: the part that is to leave.
        remaining: what the position holds.
        rules: steps and minimums of the market.
        price: the least favourable price at which the rest may have to leave; None if unknown.
    """
    sellable = max(ZERO, floor_to_step(remaining, rules.quantity_step))
    quantity = min(max(ZERO, floor_to_step(asked, rules.quantity_step)), sellable)
    if quantity <= ZERO:
        return ZERO
    least = rules.quantity_min
    if price is not None and price > ZERO:
        least = max(least, rules.notional_min / price)
    return sellable if sellable - quantity < least else quantity
