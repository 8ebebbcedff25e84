"""Which trades follow from an incoming order or a market tick. Plans only; nothing changes here."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from simulator.engine.book import Book, Offer
from simulator.engine.fees import fee_of
from simulator.engine.rules import ProductRules
from simulator.engine.values import ZERO, Handling, Order, Side


@dataclass(frozen=True, slots=True)
class Match:
    """One trade to make: at the maker's price; maker None is the synthetic ladder."""

    price: Decimal
    size: Decimal
    maker: Order | None


@dataclass(frozen=True, slots=True)
class TakePlan:
    """What an incoming order can take.

    Attributes:
        matches: In the order of execution.
        is_complete: Whether they fill the order.
        meets_own_order: Whether taking stopped at a resting order of the same account.
    """

    matches: tuple[Match, ...]
    is_complete: bool
    meets_own_order: bool = False

    @property
    def size(self) -> Decimal:
        """Base size taken."""
        return sum((match.size for match in self.matches), ZERO)

    def handled(self, handling: Handling, rules: ProductRules) -> "TakePlan":
        """Return what is really taken: only a share of it, or all in several pieces."""
        if handling.share >= 1 and handling.pieces <= 1:
            return self
        left = self.size if handling.share >= 1 else rules.size_down(self.size * handling.share)
        matches: list[Match] = []
        for match in self.matches:
            size = min(match.size, left)
            left -= size
            matches += _pieces(replace(match, size=size), handling.pieces, rules)
        is_whole = handling.share >= 1
        return TakePlan(
            tuple(matches),
            is_complete=self.is_complete and is_whole,
            meets_own_order=self.meets_own_order,
        )

    def cost(self, taker_rate: Decimal) -> Decimal:
        """Quote currency a buyer pays for it, fees included."""
        notionals = (match.price * match.size for match in self.matches)
        return sum((value + fee_of(value, taker_rate) for value in notionals), ZERO)


def plan_take(book: Book, order: Order, taker_rate: Decimal) -> TakePlan:
    """Return the trades an incoming order makes against the book, in price-time priority."""
    request = order.request
    matches: list[Match] = []
    base_left = None if request.base_size is None else order.remaining
    budget = order.budget
    for offer in _within(book.offers(request.side.opposite), request.side, request.limit_price):
        if offer.order is not None and offer.order.account_id == order.account_id:
            return TakePlan(tuple(matches), is_complete=False, meets_own_order=True)
        if budget is not None:
            affordable = _affordable(budget, offer.price, taker_rate, book.rules)
            if affordable <= 0:
                return TakePlan(tuple(matches), is_complete=True)
            size = min(offer.size, affordable)
            notional = size * offer.price
            budget -= notional + fee_of(notional, taker_rate)
        else:
            assert base_left is not None
            size = min(offer.size, base_left)
            base_left -= size
        matches.append(Match(offer.price, size, offer.order))
        if base_left == 0:
            return TakePlan(tuple(matches), is_complete=True)
    return TakePlan(tuple(matches), is_complete=False)


def plan_tick(book: Book, price: Decimal, volume: Decimal) -> list[Match]:
    """Return the fills of resting orders when the market prints `volume` at `price`.

    Orders at that price or better fill at their own limit, best first, until the printed volume is
    used up.
    """
    matches: list[Match] = []
    left = book.rules.size_down(volume)
    for side in Side:
        for order in book.resting(side):
            limit = order.request.limit_price
            assert limit is not None
            is_reached = price <= limit if side is Side.BUY else price >= limit
            if left <= 0 or not is_reached:
                break
            size = min(order.remaining, left)
            left -= size
            matches.append(Match(limit, size, order))
    return matches


def _pieces(match: Match, pieces: int, rules: ProductRules) -> list[Match]:
    piece = rules.size_down(match.size / pieces)
    sizes = [piece] * (pieces - 1) if piece > 0 else []
    sizes.append(match.size - sum(sizes, ZERO))
    return [replace(match, size=size) for size in sizes if size > 0]


def _within(offers: Iterable[Offer], taker: Side, limit: Decimal | None) -> Iterable[Offer]:
    for offer in offers:
        if limit is not None:
            is_acceptable = offer.price <= limit if taker is Side.BUY else offer.price >= limit
            if not is_acceptable:
                return
        yield offer


def _affordable(budget: Decimal, price: Decimal, rate: Decimal, rules: ProductRules) -> Decimal:
    unit_cost = price * (1 + rate)
    size = rules.size_down(budget / unit_cost)
    # A quotient rounded up to a whole increment would cost a hair more than the budget.
    return size if size * unit_cost <= budget else size - rules.base_increment
