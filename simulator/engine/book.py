"""The order book of one product: clients' resting orders and a synthetic ladder, by priority.

The ladder stands around the market's last price and is quoted anew by every tick; what takers have
consumed of it stays consumed until then. It never quotes through a client's resting order.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from heapq import merge
from typing import NamedTuple

from simulator.engine.rules import ProductRules
from simulator.engine.values import ZERO, Order, Side

_BPS = Decimal(10_000)


@dataclass(frozen=True)
class LadderSettings:
    """The shape of the synthetic liquidity.

    Attributes:
        spread_bps: Best ask over best bid, in basis points of the price.
        spacing_bps: Distance from one level to the next.
        levels: Levels a side.
        depth_quote: Liquidity of each level, in quote currency.
    """

    spread_bps: Decimal = Decimal(2)
    spacing_bps: Decimal = Decimal(2)
    levels: int = 20
    depth_quote: Decimal = Decimal(50_000)


class Offer(NamedTuple):
    """Something to trade against: a resting order, or a level of the ladder (order is None)."""

    price: Decimal
    size: Decimal
    sequence: int
    order: Order | None


# The first field is the price as a rank: the smaller, the sooner it trades.
_Resting = tuple[Decimal, int, Order]


class Book:
    """Offers of one product in price-time priority."""

    def __init__(self, rules: ProductRules, settings: LadderSettings) -> None:
        self.rules = rules
        self.price = ZERO
        self.quote_ms = 0
        self._settings = settings
        self._quote_sequence = 0
        self._resting: dict[Side, list[_Resting]] = {Side.BUY: [], Side.SELL: []}
        self._ladder: dict[Side, list[tuple[Decimal, Decimal]]] = {}
        self._consumed: dict[tuple[Side, Decimal], Decimal] = {}

    @property
    def has_resting_orders(self) -> bool:
        """Whether a tick could fill anything."""
        return bool(self._resting[Side.BUY] or self._resting[Side.SELL])

    def quote(self, price: Decimal, quote_ms: int, sequence: int) -> None:
        """Move the ladder to a new market price, at full depth."""
        self.price = price
        self.quote_ms = quote_ms
        self._quote_sequence = sequence
        self._ladder.clear()
        self._consumed.clear()

    def add(self, order: Order) -> None:
        """Rest an order."""
        insort(self._resting[order.request.side], _resting(order))

    def remove(self, order: Order) -> None:
        """Take a resting order out."""
        resting = self._resting[order.request.side]
        position = bisect_left(resting, _resting(order))
        assert resting[position][2] is order, f"{order.order_id} does not rest"
        del resting[position]

    def consume(self, side: Side, price: Decimal, size: Decimal) -> None:
        """Note that a taker took this much of the ladder's level."""
        key = (side, price)
        self._consumed[key] = self._consumed.get(key, ZERO) + size

    def resting(self, side: Side) -> Iterator[Order]:
        """Yield clients' resting orders of one side, best first."""
        return (order for _, _, order in self._resting[side])

    def offers(self, side: Side) -> Iterator[Offer]:
        """Yield all offers of one side in the order in which a taker meets them."""
        orders = (
            (rank, sequence, Offer(abs(rank), order.remaining, sequence, order))
            for rank, sequence, order in self._resting[side]
        )
        ladder = (
            (_rank(side, price), self._quote_sequence, Offer(price, left, 0, None))
            for price, left in self._ladder_left(side)
        )
        return (offer for _, _, offer in merge(orders, ladder, key=lambda item: item[:2]))

    def best_price(self, side: Side) -> Decimal | None:
        """Return the best price of one side."""
        offer = next(self.offers(side), None)
        return offer.price if offer else None

    def depth(self, side: Side, limit: int) -> list[tuple[Decimal, Decimal]]:
        """Return up to `limit` (price, size) levels of one side, best first."""
        levels: list[tuple[Decimal, Decimal]] = []
        for offer in self.offers(side):
            if levels and levels[-1][0] == offer.price:
                levels[-1] = (offer.price, levels[-1][1] + offer.size)
            elif len(levels) < limit:
                levels.append((offer.price, offer.size))
            else:
                break
        return levels

    def _ladder_left(self, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        if side not in self._ladder:
            self._ladder[side] = list(self._quoted(side))
        other = self._resting[side.opposite]
        limit = abs(other[0][0]) if other else None
        for price, size in self._ladder[side]:
            crosses = limit is not None and _rank(side, price) <= _rank(side, limit)
            left = size - self._consumed.get((side, price), ZERO)
            if left > 0 and not crosses:
                yield price, left

    def _quoted(self, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield the fresh ladder of one side, prices strictly moving away from the market."""
        sign = -1 if side is Side.BUY else 1
        step = self.rules.price_increment
        previous: Decimal | None = None
        for number in range(self._settings.levels if self.price > 0 else 0):
            distance = self._settings.spread_bps / 2 + number * self._settings.spacing_bps
            exact = self.price * (1 + sign * distance / _BPS)
            if side is Side.BUY:
                price = self.rules.price_down(exact)
                price = price if previous is None else min(price, previous - step)
            else:
                # With a spread below one increment both sides would meet: asks give way.
                floor = previous if previous is not None else self.rules.price_down(self.price)
                price = max(self.rules.price_up(exact), floor + step)
            if price <= 0:
                return
            size = self.rules.size_down(self._settings.depth_quote / price)
            if size > 0:
                yield price, size
            previous = price


def _rank(side: Side, price: Decimal) -> Decimal:
    return -price if side is Side.BUY else price


def _resting(order: Order) -> _Resting:
    price = order.request.limit_price
    assert price is not None
    return _rank(order.request.side, price), order.sequence, order
