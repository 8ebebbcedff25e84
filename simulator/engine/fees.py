"""Fee tiers, and the rounding of fees and of funds held for them."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

FEE_QUANTUM: Final = Decimal("1e-16")


@dataclass(frozen=True)
class FeeTier:
    """Maker and taker rates as fractions of the notional; a maker never pays more."""

    name: str
    title: str
    taker: Decimal
    maker: Decimal
    volume_from: Decimal
    volume_to: Decimal | None


def _tier(name: str, title: str, rates: tuple[str, str], volume: tuple[int, int | None]) -> FeeTier:
    taker, maker = map(Decimal, rates)
    top = None if volume[1] is None else Decimal(volume[1])
    return FeeTier(name, title, taker, maker, Decimal(volume[0]), top)


# name, title, (taker, maker), monthly volume in US dollars that earns it
FEE_TIERS: Final = {
    tier.name: tier
    for tier in (
        _tier("intro", "Intro 1", ("0.0120", "0.0060"), (0, 1_000)),
        _tier("retail", "Advanced 1", ("0.0060", "0.0040"), (1_000, 10_000)),
        _tier("active", "Advanced 2", ("0.0040", "0.0025"), (10_000, 50_000)),
        _tier("pro", "Advanced 3", ("0.0025", "0.0015"), (50_000, 100_000)),
        _tier("expert", "VIP 1", ("0.0020", "0.0010"), (100_000, 1_000_000)),
        _tier("vip", "VIP 4", ("0.0010", "0.0006"), (1_000_000, 75_000_000)),
        _tier("maker", "VIP 6", ("0.0005", "0"), (75_000_000, None)),
        _tier("free", "Free", ("0", "0"), (0, None)),
    )
}


class UnknownFeeTierError(Exception):
    """No tier has that name or taker rate."""


def fee_tier(name: str) -> FeeTier:
    """Return a tier by its name, or by its taker rate in percent such as `0.10%`.

    Raises:
        UnknownFeeTierError: With the known names.
    """
    if name in FEE_TIERS:
        return FEE_TIERS[name]
    if name.endswith("%"):
        try:
            rate = Decimal(name[:-1].strip()).scaleb(-2)
        except ArithmeticError:
            rate = Decimal(-1)
        for tier in FEE_TIERS.values():
            if tier.taker == rate:
                return tier
    known = ", ".join(f"{tier.name} ({tier.taker:%})" for tier in FEE_TIERS.values())
    raise UnknownFeeTierError(f"unknown fee tier {name!r}; known: {known}")


def fee_of(notional: Decimal, rate: Decimal) -> Decimal:
    """Return the fee of one fill, rounded down.

    Rounding down makes the fees of many partial fills add up to no more than what was held.
    """
    return (notional * rate).quantize(FEE_QUANTUM, ROUND_FLOOR)


def fee_to_hold(notional: Decimal, rate: Decimal) -> Decimal:
    """Return what to reserve for the fees of a notional, rounded up."""
    return (notional * rate).quantize(FEE_QUANTUM, ROUND_CEILING)
