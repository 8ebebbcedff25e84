"""Decimal arithmetic on amounts, prices and steps.

Money is `Decimal` everywhere. A *rate* or *fraction* is a share of one (0.001); a *pct* is a
number of percent (0.1). Names say which; nothing converts silently.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

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


WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Coins have volumes of 1e12 and prices of 1e-12; the usual 28 digits do not hold both."""

_UNENDING = range(25, 29)
"""Significant digits of what is a quotient without an end: division stops at 28, a few may be 0."""


def unending_rounded(value: Decimal) -> Decimal:
    """An amount exactly as it is, without trailing zeros; a quotient without an end is rounded.

    That is to 8 places, or to 10 digits that count where these are more.
    """
    exact = value.normalize(WIDE)
    if len(exact.as_tuple().digits) in _UNENDING:
        places = max(8, 9 - value.adjusted())
        exact = value.quantize(ONE.scaleb(-places), context=WIDE).normalize(WIDE)
    return exact


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
