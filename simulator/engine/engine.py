"""The matching engine: books, ledger and open orders, and the three things that can happen.

An order is submitted, an order is cancelled, the market ticks. Each leaves its traces in `changes`
for whoever makes them durable. The engine holds no clock and does no I/O; given the same calls it
makes the same trades.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from simulator.engine.accounts import FEES_ACCOUNT, LIQUIDITY_ACCOUNT, Balance, Ledger
from simulator.engine.book import Book
from simulator.engine.fees import FeeTier, fee_of, fee_to_hold
from simulator.engine.matching import Match, TakePlan, plan_take, plan_tick
from simulator.engine.rules import ProductRules, currencies_of
from simulator.engine.values import (
    ZERO,
    Fill,
    Handling,
    Liquidity,
    Order,
    OrderRefusedError,
    OrderStatus,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)

_PLAIN: Final = Handling()


@dataclass
class Changes:
    """What must be made durable: orders and balances as they are now, and new fills."""

    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.orders or self.fills or self.balances)


class MatchingEngine:
    """All products of the venue."""

    def __init__(
        self,
        books: Iterable[Book],
        tiers: Mapping[str, FeeTier],
        new_trade_id: Callable[[int], str],
        sequence: int = 0,
    ) -> None:
        self.books = {book.rules.product_id: book for book in books}
        self.ledger = Ledger()
        self.open_orders: dict[str, Order] = {}
        self.parked: dict[str, Order] = {}
        """Accepted orders that nothing can fill at present; their funds are held."""
        self._tiers = tiers
        self._new_trade_id = new_trade_id
        self._sequence = sequence
        self._orders: dict[str, Order] = {}
        self._fills: list[Fill] = []

    def next_sequence(self) -> int:
        """Return the next position in the venue's order of events."""
        self._sequence += 1
        return self._sequence

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        balances = {key: self.ledger.balance(*key) for key in self.ledger.changed}
        changes = Changes(self._orders, self._fills, balances)
        self._orders, self._fills = {}, []
        self.ledger.changed = set()
        return changes

    def find_open(self, order_id: str) -> Order | None:
        """Return an order that is not done."""
        return self.open_orders.get(order_id) or self.parked.get(order_id)

    def restore(self, order: Order) -> None:
        """Put back a stored order that is not done; its hold is part of the stored balance."""
        if order.status is OrderStatus.OPEN and order.request.limit_price is not None:
            self.open_orders[order.order_id] = order
            self.books[order.request.product_id].add(order)
        else:
            self.parked[order.order_id] = order

    def submit(
        self,
        order: Order,
        now_ms: int | None = None,
        handling: Handling = _PLAIN,
        rules: ProductRules | None = None,
    ) -> None:
        """Accept an order, trade what can be traded, rest or cancel what is left.

        Args:
            order: What was asked for.
            now_ms: Venue time of its trades; that of its acceptance if not given.
            handling: How it is treated.
            rules: What it must look like, if that is not what the product's book says.

        Raises:
            OrderRefusedError: The order breaks a rule or lacks funds; nothing has changed.
        """
        book, plan = self._accept(order, rules)
        self._match(book, order, plan, order.created_ms if now_ms is None else now_ms, handling)

    def park(self, order: Order, status: OrderStatus, rules: ProductRules | None = None) -> None:
        """Accept an order and hold its funds, but match it later, with `release`.

        Raises:
            OrderRefusedError: The order breaks a rule or lacks funds; nothing has changed.
        """
        self._accept(order, rules)
        order.status = status
        self.parked[order.order_id] = order
        self._orders[order.order_id] = order

    def release(self, order: Order, now_ms: int, handling: Handling = _PLAIN) -> None:
        """Match a parked order by what the market offers now; it fails if it cannot be placed."""
        book = self.books[order.request.product_id]
        del self.parked[order.order_id]
        self.ledger.release(order.account_id, held_currency(order, book.rules), order.hold)
        order.hold = ZERO
        order.status = OrderStatus.OPEN
        try:
            plan = self._hold_for(book, order)
        except OrderRefusedError as refused:
            self._close(book, order, OrderStatus.FAILED, refused.refusal.value)
        else:
            self._match(book, order, plan, now_ms, handling)

    def cancel(self, order: Order, reason: str) -> None:
        """Cancel an order that is not done and give its hold back."""
        book = self.books[order.request.product_id]
        if self.parked.pop(order.order_id, None) is None:
            book.remove(order)
            del self.open_orders[order.order_id]
        self._close(book, order, OrderStatus.CANCELLED, reason)

    def void(self, order: Order, reason: str) -> None:
        """Cancel a stored resting order of a market that is no longer run."""
        base, quote = currencies_of(order.request.product_id)
        currency = quote if order.request.side is Side.BUY else base
        self.ledger.release(order.account_id, currency, order.hold)
        order.hold = ZERO
        order.status = OrderStatus.CANCELLED
        order.cancel_reason = reason
        self._orders[order.order_id] = order

    def tick(self, product_id: str, price: Decimal, volume: Decimal, time_ms: int) -> None:
        """Move the market: fill the resting orders it reaches, then quote the ladder anew."""
        book = self.books[product_id]
        matches = plan_tick(book, price, volume) if book.has_resting_orders else []
        book.quote(price, time_ms, self.next_sequence())
        for match in matches:
            assert match.maker is not None
            self._fill(book, match.maker, match, Liquidity.MAKER, time_ms, from_ladder=True)
            self._trade_with_ladder(book.rules, match.maker.request.side, match)

    def _accept(self, order: Order, rules: ProductRules | None) -> tuple[Book, TakePlan]:
        book = self.books.get(order.request.product_id)
        if book is None:
            raise OrderRefusedError(Refusal.UNKNOWN_PRODUCT)
        (rules or book.rules).check(order.request)
        return book, self._hold_for(book, order)

    def _hold_for(self, book: Book, order: Order) -> TakePlan:
        rate = self._tiers[order.account_id].taker
        plan = plan_take(book, order, rate)
        self._refuse_unplaceable(order, plan)
        hold = self._hold_needed(order, plan, rate)
        self.ledger.hold(order.account_id, held_currency(order, book.rules), hold)
        order.hold = hold
        return plan

    def _match(
        self, book: Book, order: Order, plan: TakePlan, now_ms: int, handling: Handling
    ) -> None:
        is_fok = order.request.time_in_force is TimeInForce.FOK
        taken = plan.handled(
            replace(handling, share=Decimal(1)) if is_fok else handling, book.rules
        )
        if not is_fok or plan.is_complete:
            for match in taken.matches:
                self._take(book, order, match, now_ms)
        self._settle_rest(book, order, taken, rests=handling.rests and not is_fok)

    def _refuse_unplaceable(self, order: Order, plan: TakePlan) -> None:
        crosses = bool(plan.matches) or plan.meets_own_order
        if order.request.post_only and crosses:
            raise OrderRefusedError(Refusal.WOULD_CROSS)
        if order.request.type is OrderType.MARKET and not plan.matches:
            raise OrderRefusedError(Refusal.NO_LIQUIDITY)

    def _hold_needed(self, order: Order, plan: TakePlan, rate: Decimal) -> Decimal:
        request = order.request
        if request.side is Side.SELL:
            assert request.base_size is not None
            return order.remaining
        if request.type is OrderType.MARKET:
            return order.budget if order.budget is not None else plan.cost(rate)
        return _limit_buy_hold(order, rate)

    def _take(self, book: Book, taker: Order, match: Match, now_ms: int) -> None:
        from_ladder = match.maker is None
        self._fill(book, taker, match, Liquidity.TAKER, now_ms, from_ladder=from_ladder)
        if match.maker is None:
            book.consume(taker.request.side.opposite, match.price, match.size)
            self._trade_with_ladder(book.rules, taker.request.side, match)
        else:
            self._fill(book, match.maker, match, Liquidity.MAKER, now_ms, from_ladder=False)

    def _trade_with_ladder(self, rules: ProductRules, side: Side, match: Match) -> None:
        sign = -1 if side is Side.BUY else 1
        notional = match.price * match.size
        self.ledger.add(LIQUIDITY_ACCOUNT, rules.base, sign * match.size)
        self.ledger.add(LIQUIDITY_ACCOUNT, rules.quote, -sign * notional)

    def _fill(
        self,
        book: Book,
        order: Order,
        match: Match,
        liquidity: Liquidity,
        time_ms: int,
        *,
        from_ladder: bool,
    ) -> None:
        """Book one side of a trade; close a resting order that is done."""
        tier = self._tiers[order.account_id]
        notional = match.price * match.size
        fee = fee_of(notional, tier.maker if liquidity is Liquidity.MAKER else tier.taker)
        order.filled_size += match.size
        order.filled_value += notional
        order.fees += fee
        order.fill_count += 1
        order.last_fill_ms = time_ms
        self._move(book.rules, order, match, fee, tier.taker)
        sequence = self.next_sequence()
        self._fills.append(
            Fill(
                trade_id=self._new_trade_id(sequence),
                order_id=order.order_id,
                account_id=order.account_id,
                product_id=order.request.product_id,
                side=order.request.side,
                price=match.price,
                size=match.size,
                fee=fee,
                liquidity=liquidity,
                sequence=sequence,
                time_ms=time_ms,
                quote_ms=book.quote_ms,
                from_ladder=from_ladder,
            )
        )
        self._orders[order.order_id] = order
        if liquidity is Liquidity.MAKER and order.remaining == 0:
            book.remove(order)
            del self.open_orders[order.order_id]
            self._close(book, order, OrderStatus.FILLED)

    def _move(
        self, rules: ProductRules, order: Order, match: Match, fee: Decimal, taker_rate: Decimal
    ) -> None:
        """Move the money of a fill, and let go of the hold it has used."""
        account = order.account_id
        notional = match.price * match.size
        is_buy = order.request.side is Side.BUY
        paid, spent = (rules.quote, notional + fee) if is_buy else (rules.base, match.size)
        received, income = (rules.base, match.size) if is_buy else (rules.quote, notional - fee)
        if is_buy and order.request.type is OrderType.LIMIT:
            hold = _limit_buy_hold(order, taker_rate)
        else:
            hold = order.hold - spent
        self.ledger.release(account, paid, order.hold - hold)
        order.hold = hold
        self.ledger.add(account, paid, -spent)
        self.ledger.add(account, received, income)
        self.ledger.add(FEES_ACCOUNT, rules.quote, fee)

    def _settle_rest(self, book: Book, order: Order, plan: TakePlan, *, rests: bool) -> None:
        self._orders[order.order_id] = order
        if plan.is_complete:
            self._close(book, order, OrderStatus.FILLED)
        elif plan.meets_own_order:
            self._close(book, order, OrderStatus.CANCELLED, "Self trade prevented")
        elif order.request.time_in_force is TimeInForce.GTC or rests:
            self.restore(order)
        else:
            self._close(book, order, OrderStatus.CANCELLED, "Not fully fillable at once")

    def _close(self, book: Book, order: Order, status: OrderStatus, reason: str = "") -> None:
        if order.hold:
            currency = held_currency(order, book.rules)
            self.ledger.release(order.account_id, currency, order.hold)
            order.hold = ZERO
        order.status = status
        order.cancel_reason = reason
        self._orders[order.order_id] = order


def held_currency(order: Order, rules: ProductRules) -> str:
    """Return the currency in which an order's funds are held."""
    return rules.quote if order.request.side is Side.BUY else rules.base


def _limit_buy_hold(order: Order, taker_rate: Decimal) -> Decimal:
    assert order.request.limit_price is not None
    notional = order.remaining * order.request.limit_price
    return notional + fee_to_hold(notional, taker_rate)
