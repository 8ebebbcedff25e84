"""Decimal arithmetic on amounts, prices and steps.

Money is `Decimal` everywhere. A *rate* or *fraction* is a share of one (0.001); a *pct* is a
number of percent (0.1). Names say which; nothing converts silently.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round down to a multiple of `step` (a venue's quantity or price increment)."""
    return _to_step(value, step, ROUND_FLOOR)


def ceil_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round up to a multiple of `step`."""
    return _to_step(value, step, ROUND_CEILING)


def round_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round to the nearest multiple of `step`, ties to even."""
    return _to_step(value, step, ROUND_HALF_EVEN)


def pct(part: Decimal, whole: Decimal) -> Decimal:
    """`part` as percent of `whole`; zero where there is no whole."""
    return part / whole * HUNDRED if whole else ZERO


def from_float(value: float) -> Decimal:
    """The decimal a float prints as; for prices computed in binary floating point."""
    return Decimal(repr(float(value)))


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    if step <= ZERO:
        raise ValueError("A step must be positive")
    return (value / step).to_integral_value(rounding=rounding) * step
