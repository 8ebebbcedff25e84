"""Which size and price an exit order may have.

Cut to what is there and to what the market takes in one order, in whole steps, without stranding a
remainder; a price only where the market takes no other orders, bounded and moved until it fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from domain.markets import MarketRules
from domain.money import ONE, ZERO, ceil_to_step, floor_to_step
from domain.orders import Side


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


NOTIONAL_MARGIN = Decimal("0.95")
"""Which share of a market's maximum notional is used: the price moves before the order arrives."""

BAND_FIRST = Decimal("0.01")
BAND_MAX = Decimal("0.5")
"""How far from the last price a limit exit may execute, as a fraction: at first, and at most."""


def largest_order(quantity: Decimal, rules: MarketRules, *, price: Decimal | None) -> Decimal:
    """What of a quantity one order may carry, in the base currency; the rest takes more orders.

    Args:
        quantity: what is to be traded, in whole steps.
        rules: steps and maximums of the market.
        price: the price last seen; None if unknown, and then the maximum notional does not count.
    """
    most = quantity
    if rules.quantity_max is not None and rules.quantity_max > ZERO:
        most = min(most, floor_to_step(rules.quantity_max, rules.quantity_step))
    if rules.notional_max is not None and price is not None and price > ZERO:
        by_value = rules.notional_max * NOTIONAL_MARGIN / price
        most = min(most, floor_to_step(by_value, rules.quantity_step))
    if most <= ZERO:
        return quantity  # maximums that allow nothing are wrong: the venue shall say so
    rest = quantity - most
    if ZERO < rest < rules.quantity_min and most - rules.quantity_min >= rules.quantity_min:
        return most - floor_to_step(rules.quantity_min, rules.quantity_step)
    return most


FOUND_FOR = timedelta(minutes=10)
"""Wall time after which twice the size is tried of what was refused as too large."""

TOO_LARGE_KEPT = timedelta(days=1)
"""Wall time for which such a refusal can matter at all: the size doubles many times in it."""


class TooLarge(NamedTuple):
    """A quantity (base currency) that was refused as too large for one order, and when (wall)."""

    quantity: Decimal
    refused_at: datetime


def largest_found(
    too_large: Sequence[TooLarge], rules: MarketRules, *, price: Decimal | None, now: datetime
) -> Decimal | None:
    """The maximum that refusals taught, in the base currency; None where they taught none.

    Half of what was refused, until it is taken. It does not stay: the market may take more by then,
    so twice as much may go every `FOUND_FOR`. Nor does it hold beside a published maximum: a
    refusal which that one explains teaches nothing else.

    Args:
        too_large: what was refused.
        rules: steps and maximums of the market, as they are known now.
        price: the price last seen; None if unknown.
        now: wall time.
    """
    sizes = [
        quantity / 2 * (1 << max(0, (now - refused_at) // FOUND_FOR))
        for quantity, refused_at in too_large
        if largest_order(quantity, rules, price=price) == quantity
    ]
    most = floor_to_step(min(sizes), rules.quantity_step) if sizes else ZERO
    return most or None


def exit_limit_price(side: Side, reference: Decimal, rules: MarketRules, *, tries: int) -> Decimal:
    """The worst price at which a limit exit may execute.

    It trades at the best prices there are; the bound keeps an empty book from taking it anywhere.
    Each try that filled nothing doubles the distance from the price last seen.

    Args:
        side: of the exit order.
        reference: the price last seen, in the quote currency.
        rules: the market's price step.
        tries: how many tries before this one filled nothing.
    """
    band = min(BAND_FIRST * (1 << min(tries, 10)), BAND_MAX)
    if side is Side.BUY:
        return ceil_to_step(reference * (ONE + band), rules.price_step)
    return max(floor_to_step(reference * (ONE - band), rules.price_step), rules.price_step)
