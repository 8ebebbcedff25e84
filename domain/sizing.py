"""How large an entry may be: the lowest of several ceilings, or nothing.

Every limit is a ceiling and no minimum ever raises a size. Where the venue's minimum is above the
lowest ceiling the feasible interval is empty and there is no trade.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.markets import MarketRules
from domain.money import ONE, ZERO, ceil_to_step, floor_to_step


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that one rule allows.

    Attributes:
        name: which rule.
        quantity: in the base currency, not yet on the quantity step; never negative.
    """

    name: str
    quantity: Decimal

    @classmethod
    def of_quantity(cls, name: str, quantity: Decimal) -> Ceiling:
        """A ceiling in the base currency."""
        return cls(name, max(ZERO, quantity))

    @classmethod
    def of_notional(cls, name: str, notional: Decimal, price: Decimal) -> Ceiling:
        """A ceiling in the quote currency, at the highest price the order can fill at."""
        return cls(name, max(ZERO, notional) / price)


@dataclass(frozen=True, slots=True)
class Size:
    """The feasible interval of a quantity and the quantity chosen from it (its upper end).

    Attributes:
        quantity: largest multiple of the quantity step under every ceiling; may be below `least`.
        least: smallest quantity that the venue accepts and that can be left again.
        binding: the lowest ceiling.
        ceilings: all of them.
    """

    quantity: Decimal
    least: Decimal
    binding: Ceiling
    ceilings: tuple[Ceiling, ...]

    @property
    def is_feasible(self) -> bool:
        """Whether the interval holds a quantity."""
        return self.quantity >= self.least and self.quantity > ZERO


def size_under(ceilings: Iterable[Ceiling], *, least: Decimal, quantity_step: Decimal) -> Size:
    """The largest tradable quantity under every ceiling.

    Raises:
        ValueError: no ceiling at all, which would be an unlimited order.
    """
    known = tuple(ceilings)
    if not known:
        raise ValueError("A size needs at least one ceiling")
    binding = min(known, key=lambda ceiling: ceiling.quantity)
    return Size(
        quantity=floor_to_step(binding.quantity, quantity_step),
        least=least,
        binding=binding,
        ceilings=known,
    )


def least_entry_quantity(
    rules: MarketRules, *, lowest_price: Decimal, taker_rate: Decimal
) -> Decimal:
    """The smallest entry that can be made and left again, on the quantity step.

    Args:
        rules: the venue's minimums.
        lowest_price: the least favourable price among entry and exits (a long's stop, a short's
            last target): the minimum notional must hold there too, or the exit would be refused.
        taker_rate: an entry fee taken in the base currency makes the exit smaller by this fraction.
    """
    minimum = max(rules.quantity_min, rules.notional_min / lowest_price) / (ONE - taker_rate)
    return max(ceil_to_step(minimum, rules.quantity_step), rules.quantity_step)
