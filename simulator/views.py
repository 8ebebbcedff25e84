"""The venue as its clients see it: what the exchange knows, through the faults in force.

The exchange has the state without faults; every answer to a client, over HTTP or in process, comes
from here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

from simulator.engine.accounts import Balance
from simulator.engine.rules import ProductRules
from simulator.engine.values import Fill, Order, OrderStatus, Side
from simulator.exact import EXACT
from simulator.exchange import Exchange
from simulator.faults.candles import ListedCandle, shown_candles
from simulator.faults.kinds import CallName, Kind
from simulator.faults.orders import shown_fill, shown_order, shuffle_key
from simulator.faults.plan import Situation
from simulator.faults.state import ProductState
from simulator.market.candles import MINUTE_MS
from simulator.store import Account, Filter


class VenueView:
    """What one client sees; `account` is None for calls without a signature."""

    def __init__(self, exchange: Exchange, account: Account | None = None) -> None:
        self._exchange = exchange
        self._account_id = None if account is None else account.account_id

    def now_ms(self, call: CallName = CallName.TIME) -> int:
        """The venue's clock as it shows itself."""
        return self._exchange.conditions.shown_ms(call, self._account_id)

    def order(self, order_id: str) -> Order | None:
        """One order of the account by its id; None when it is not shown."""
        order = self._exchange.store.find_order(self._owner, order_id)
        return None if order is None else self._shown(order, by_id=True)

    def orders(self, filter_: Filter) -> tuple[list[Order], int | None]:
        """A page of orders, newest first, and the cursor of the next page.

        A page may hold less than its limit although more pages follow.
        """
        exchange = self._exchange
        hidden = exchange.order_faults.hidden(exchange.now_ms)
        asked = replace(filter_, limit=filter_.limit + 1, any_status_ids=tuple(hidden))
        found = exchange.store.orders(asked)
        page, cursor = found[: filter_.limit], None
        if len(found) > filter_.limit:
            cursor = page[-1].sequence
        shown = [order for one in page if (order := self._shown(one, by_id=False))]
        if filter_.statuses:
            shown = [order for order in shown if order.status in filter_.statuses]
        return shown, cursor

    def open_orders(self) -> list[Order]:
        """Every order of the account that is listed as open."""
        filter_ = Filter(self._owner, statuses=(OrderStatus.OPEN,), limit=2**31)
        return self.orders(filter_)[0]

    def is_cancelling(self, order: Order) -> bool:
        """Whether a cancellation was confirmed that has not taken effect yet."""
        faults = self._exchange.order_faults.of(order.order_id)
        return not order.status.is_done and faults.find(Kind.CANCEL_LATE) is not None

    def fills(self, filter_: Filter) -> tuple[list[Fill], int | None]:
        """A page of fills, newest first unless a fault shuffles them, and the next cursor."""
        exchange = self._exchange
        found = exchange.store.fills(replace(filter_, limit=filter_.limit + 1))
        page, cursor = found[: filter_.limit], None
        if len(found) > filter_.limit:
            cursor = page[-1].sequence
        placed: list[tuple[tuple[float, int], Fill]] = []
        for place, fill in enumerate(page):
            faults = exchange.order_faults.of(fill.order_id)
            position = 0
            if faults.find(Kind.FILLS_IN_PIECES):
                position = exchange.store.fills_before(fill.order_id, fill.sequence)
            key = shuffle_key(fill, place, faults)
            placed += [(key, one) for one in shown_fill(fill, position, faults, exchange.now_ms)]
        placed.sort(key=lambda item: item[0])
        return [fill for _, fill in placed], cursor

    def balances(self) -> dict[str, Balance]:
        """The account's balances by currency: without what moved them just now, if they lag."""
        exchange = self._exchange
        shown = {
            currency: replace(balance)
            for currency, balance in exchange.balances(self._owner).items()
        }
        behind_ms = exchange.conditions.balances_behind_ms(self._owner)
        if behind_ms:
            recent = Filter(self._owner, start_ms=exchange.now_ms - behind_ms + 1, limit=-1)
            with localcontext(EXACT):
                for currency, change in self._changes(recent):
                    shown[currency].total -= change
        # A hold is shown as it is; a wallet never shows less than nothing.
        for balance in shown.values():
            balance.total = max(balance.total, balance.held)
        return shown

    def product_state(self, product_id: str, call: CallName) -> ProductState:
        """How a product shows itself in this call."""
        return self._exchange.conditions.product(product_id, call, self._account_id)

    def product_ids(self, call: CallName) -> dict[str, ProductState]:
        """The products that are shown at all, sorted, each with how it shows itself."""
        states = {
            name: self.product_state(name, call) for name in sorted(self._exchange.engine.books)
        }
        return {name: state for name, state in states.items() if not state.is_absent}

    def rules(self, product_id: str, call: CallName = CallName.PRODUCTS) -> ProductRules:
        """The rules of a product as they are at present."""
        rules = self._exchange.engine.books[product_id].rules
        return self.product_state(product_id, call).rules(rules)

    def candles(
        self, product_id: str, width: int, start_ms: int, end_ms: int
    ) -> Sequence[ListedCandle]:
        """Candles of `width` minutes whose open lies in [start_ms, end_ms], oldest first."""
        exchange = self._exchange
        rules = exchange.engine.books[product_id].rules
        now_ms = exchange.now_ms
        candles = [
            ListedCandle(
                open_ms=candle.open_ms,
                close_ms=candle.open_ms + width * MINUTE_MS,
                open=candle.open,
                high=candle.high,
                low=candle.low,
                close=candle.close,
                volume=candle.volume,
                malformed={},
            )
            for candle in exchange.feed.candles(product_id, width, start_ms, end_ms, now_ms)
        ]
        situation = Situation(CallName.CANDLES, now_ms, self._account_id, (product_id,))
        hits = exchange.faults.candles(situation)

        def round_price(price: Decimal) -> Decimal:
            return rules.price_down(price)

        return shown_candles(candles, product_id, hits, now_ms, round_price)

    @property
    def _owner(self) -> str:
        assert self._account_id is not None, "orders and fills belong to an account"
        return self._account_id

    def _changes(self, recent: Filter) -> Iterator[tuple[str, Decimal]]:
        """Yield what fills and manual actions have added to each currency since an instant."""
        store = self._exchange.store
        for fill in store.fills(recent):
            rules = self._exchange.engine.books[fill.product_id].rules
            sign = 1 if fill.side is Side.BUY else -1
            yield rules.base, sign * fill.size
            yield rules.quote, -sign * fill.size * fill.price - fill.fee
        for move in store.manual_actions(self._owner):
            if move.amount is not None and move.time_ms >= (recent.start_ms or 0):
                assert move.currency is not None
                yield move.currency, move.amount if move.kind == "deposit" else -move.amount

    def _shown(self, order: Order, *, by_id: bool) -> Order | None:
        exchange = self._exchange
        faults = exchange.order_faults.of(order.order_id)
        if not faults.is_listed(exchange.now_ms, by_id=by_id):
            return None
        return shown_order(order, faults, exchange.now_ms)
