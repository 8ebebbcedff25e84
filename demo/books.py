"""Adding an exchange's fills up by hand.

Nothing of the platform's own arithmetic is used here, on purpose: what it says is checked against
this. Fees of this exchange are in the quote currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Self

_ZERO = Decimal(0)
_API_PLACES = Decimal("0.00000001")


def as_shown(amount: Decimal) -> Decimal:
    """An amount as exact as the API shows it."""
    return amount.quantize(_API_PLACES, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, in the exchange's own words."""

    trade_id: str
    symbol: str
    side: str
    price: Decimal
    size: Decimal
    fee: Decimal
    time: datetime
    sequence: int

    @classmethod
    def from_dump(cls, fill: Mapping[str, Any]) -> Self:
        """Read a fill of the simulator's dump."""
        return cls(
            trade_id=fill["trade_id"],
            symbol=fill["product_id"],
            side=fill["side"].lower(),
            price=Decimal(fill["price"]),
            size=Decimal(fill["size"]),
            fee=Decimal(fill["fee"]),
            time=datetime.fromisoformat(fill["time"]),
            sequence=fill["sequence"],
        )

    @property
    def is_buy(self) -> bool:
        """Whether base currency came in."""
        return self.side == "buy"

    @property
    def notional(self) -> Decimal:
        """Price times size, in the quote currency."""
        return self.price * self.size


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Fills from flat to flat."""

    symbol: str
    quantity: Decimal
    cost: Decimal
    proceeds: Decimal
    fees: Decimal
    closed_at: datetime

    @property
    def gross(self) -> Decimal:
        """Before fees."""
        return self.proceeds - self.cost

    @property
    def net(self) -> Decimal:
        """After fees."""
        return self.gross - self.fees


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures of a report; amounts in US dollars."""

    trades: int
    wins: int
    gross: Decimal
    fees: Decimal
    net: Decimal
    max_drawdown: Decimal

    @property
    def win_rate(self) -> Decimal:
        """Winning share, 0 to 1."""
        return Decimal(self.wins) / self.trades if self.trades else _ZERO


def round_trips(fills: Iterable[Fill]) -> list[RoundTrip]:
    """The round trips that are over, in the order of their end."""
    held: dict[str, list[Fill]] = {}
    done: list[RoundTrip] = []
    for fill in sorted(fills, key=lambda one: one.sequence):
        trip = held.setdefault(fill.symbol, [])
        trip.append(fill)
        if sum((one.size if one.is_buy else -one.size for one in trip), _ZERO) == _ZERO:
            done.append(_round_trip(held.pop(fill.symbol)))
    return done


def totals(trips: Sequence[RoundTrip], deposit: Decimal) -> Totals:
    """Add round trips up; the drawdown is of the equity at the end of each UTC day."""
    return Totals(
        trades=len(trips),
        wins=sum(trip.net > _ZERO for trip in trips),
        gross=sum((trip.gross for trip in trips), _ZERO),
        fees=sum((trip.fees for trip in trips), _ZERO),
        net=sum((trip.net for trip in trips), _ZERO),
        max_drawdown=deepest_fall([deposit, *_equity_by_day(trips, deposit).values()]),
    )


def deepest_fall(curve: Iterable[Decimal]) -> Decimal:
    """The deepest fall of a curve below its highest point before; zero or negative."""
    peak: Decimal | None = None
    deepest = _ZERO
    for value in curve:
        peak = value if peak is None else max(peak, value)
        deepest = min(deepest, value - peak)
    return deepest


def _round_trip(fills: Sequence[Fill]) -> RoundTrip:
    buys = [fill for fill in fills if fill.is_buy]
    sells = [fill for fill in fills if not fill.is_buy]
    return RoundTrip(
        symbol=fills[0].symbol,
        quantity=sum((fill.size for fill in buys), _ZERO),
        cost=sum((fill.notional for fill in buys), _ZERO),
        proceeds=sum((fill.notional for fill in sells), _ZERO),
        fees=sum((fill.fee for fill in fills), _ZERO),
        closed_at=fills[-1].time,
    )


def _equity_by_day(trips: Sequence[RoundTrip], deposit: Decimal) -> dict[date, Decimal]:
    equity = deposit
    days: dict[date, Decimal] = {}
    for trip in sorted(trips, key=lambda one: one.closed_at):
        equity += trip.net
        days[trip.closed_at.date()] = equity
    return days
