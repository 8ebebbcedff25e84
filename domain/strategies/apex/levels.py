"""Stop and targets of a position, from a price and the ATR.

Used twice with the same rules: from the decision price to size and judge an entry, and from the
average fill price to protect what was filled. Prices come out on the market's price step. A stop is
rounded towards the entry, a target away from it, so rounding never makes the risk larger or a
target's profit smaller than the rule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from domain.markets import MarketRules
from domain.money import ONE, ceil_to_step, floor_to_step
from domain.positions import Direction
from domain.strategies.apex.config import DEFAULT_CONFIG, ApexConfig

WIDENED_SLIPPAGE_MAX = Decimal("0.01")
"""How far, as a fraction of the decision price, the limit may lie beyond it where the market's
price step is larger than the slippage cap. A coarser step is refused."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Stop and targets in the quote currency.

    Attributes:
        stop: protective stop.
        targets: profit targets, nearest first; two may coincide when fees move them out.
        risk_distance: distance from the price to the unrounded stop (1 R).
        target_distances: unrounded distances of the targets.
    """

    stop: Decimal
    targets: tuple[Decimal, ...]
    risk_distance: Decimal
    target_distances: tuple[Decimal, ...]


def protective_levels(
    direction: Direction,
    price: Decimal,
    atr: Decimal,
    round_trip_rate: Decimal,
    rules: MarketRules,
    *,
    config: ApexConfig = DEFAULT_CONFIG,
) -> Levels:
    """Stop at 1.5 ATR, targets at 1, 2 and 3 R, none nearer than 2.5 round-trip fees.

    Args:
        direction: long or short.
        price: decision or average fill price.
        atr: average true range in the quote currency; positive.
        round_trip_rate: fees of entering and leaving, as a fraction of the price.
        rules: for the price step.
        config: the multiples.
    """
    risk = atr * config.stop_multiple
    least = price * round_trip_rate * config.minimum_target_fees
    distances = tuple(max(risk * multiple, least) for multiple in config.target_multiples)
    sign = direction.sign
    return Levels(
        stop=stop_price(direction, price - risk * sign, rules.price_step, below=price),
        targets=tuple(
            target_price(direction, price + distance * sign, rules.price_step)
            for distance in distances
        ),
        risk_distance=risk,
        target_distances=distances,
    )


def entry_limit_price(
    direction: Direction, decision_price: Decimal, price_step: Decimal, slippage_rate: Decimal
) -> Decimal:
    """The worst price an entry may fill at, on the price step.

    Within the slippage cap, unless the market has no price there: a limit at or before the decision
    price would find no counterparty, so it is then the next price step beyond it. How far that may
    be is judged by the pipeline (`WIDENED_SLIPPAGE_MAX`).
    """
    worst = decision_price * (ONE + slippage_rate * direction.sign)
    if direction is Direction.LONG:
        next_price = floor_to_step(decision_price, price_step) + price_step
        return max(floor_to_step(worst, price_step), next_price)
    next_price = ceil_to_step(decision_price, price_step) - price_step
    return min(ceil_to_step(worst, price_step), next_price)


def stop_price(
    direction: Direction, price: Decimal, step: Decimal, *, below: Decimal | None = None
) -> Decimal:
    """A stop on the price step, rounded to the tighter side.

    Args:
        direction: of the position it protects.
        price: the exact stop.
        step: price step of the market.
        below: a price the stop must stay on the losing side of, where rounding would carry it
            across.
    """
    tight, loose = (
        (ceil_to_step, floor_to_step)
        if direction is Direction.LONG
        else (floor_to_step, ceil_to_step)
    )
    rounded = tight(price, step)
    crossed = below is not None and (rounded - below) * direction.sign >= 0
    rounded = loose(price, step) if crossed else rounded
    return max(rounded, step)


def target_price(direction: Direction, price: Decimal, step: Decimal) -> Decimal:
    """A target on the price step, rounded away from the entry; never below one step."""
    rounded = (
        ceil_to_step(price, step) if direction is Direction.LONG else floor_to_step(price, step)
    )
    return max(rounded, step)


def break_even_price(
    direction: Direction, entry_price: Decimal, round_trip_rate: Decimal, step: Decimal
) -> Decimal:
    """The stop that earns back the round-trip fees: entry plus c, for a short minus c."""
    return stop_price(direction, entry_price * (ONE + round_trip_rate * direction.sign), step)


def trailing_price(
    direction: Direction, best_close: Decimal, atr: Decimal, multiple: Decimal, step: Decimal
) -> Decimal:
    """The stop that follows the best close at a distance of `multiple` ATR."""
    return stop_price(direction, best_close - atr * multiple * direction.sign, step)
