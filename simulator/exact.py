"""Exact decimal arithmetic: enough digits for any price times any size, and plain text.

Python's default of 28 digits rounds the product of a price of a memecoin and a volume of its
trillions. Everything that adds or multiplies amounts runs with `EXACT`.
"""

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

DIGITS: Final = 80
EXACT: Final = Context(prec=DIGITS, traps=[InvalidOperation, DivisionByZero, Overflow])


def plain(amount: Decimal) -> str:
    """Return an amount without exponent and without trailing zeros, digit for digit."""
    if not amount:
        return "0"
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def decimals_of(amount: Decimal) -> int:
    """Return how many digits behind the point an amount needs."""
    _, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int), "amounts are finite"
    zeros = next((n for n, digit in enumerate(reversed(digits)) if digit), len(digits))
    return max(0, -exponent - zeros) if any(digits) else 0
