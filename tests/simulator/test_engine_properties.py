"""What must hold whatever clients and market do."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.accounts import LIQUIDITY_ACCOUNT
from simulator.engine.engine import MatchingEngine
from simulator.engine.values import (
    Fill,
    Order,
    OrderRefusedError,
    OrderStatus,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)
from tests.simulator.engines import ACCOUNTS, PRODUCT, engine, order, sums

DEPOSITS = {"alice": ("1000", "5"), "bob": ("250.55", "0.3"), "carol": ("0", "2")}

sizes = st.decimals("0.00000001", "4", places=8).map(str)
prices = st.decimals("95", "105", places=2).map(str)
volumes = st.decimals("0", "3", places=8)
placements = st.fixed_dictionaries(
    {"side": st.sampled_from(Side), "account": st.sampled_from(ACCOUNTS)}
)
limits = st.fixed_dictionaries(
    {
        "size": sizes,
        "price": prices,
        "time_in_force": st.sampled_from(TimeInForce),
        "post_only": st.booleans(),
    }
)
markets = st.one_of(
    st.fixed_dictionaries({"size": sizes}),
    st.fixed_dictionaries({"amount": st.decimals("0.5", "400", places=2).map(str)}),
)
orders = st.builds(dict.__or__, placements, st.one_of(limits, markets))
ticks = st.tuples(st.decimals("95", "105", places=2), volumes)
cancels = st.integers(0, 20)
histories = st.lists(st.one_of(orders, ticks, cancels), max_size=40)


class History:
    """Plays random events and keeps everything that was ever accepted."""

    def __init__(self, events: list[object]) -> None:
        self.engine: MatchingEngine = engine(DEPOSITS)
        self.orders: list[Order] = []
        self.fills: list[Fill] = []
        self.deposited = sums(self.engine)
        for time_ms, event in enumerate(events, start=10):
            self._play(event, time_ms)
            self._check()

    def _play(self, event: object, time_ms: int) -> None:
        if isinstance(event, dict):
            self._submit(order(self.engine, **event))
        elif isinstance(event, tuple):
            price, volume = event
            self.engine.tick(PRODUCT, price, volume, time_ms)
        elif self.engine.open_orders:
            resting = list(self.engine.open_orders.values())
            self.engine.cancel(resting[int(str(event)) % len(resting)], "cancelled")
        self.fills += self.engine.take_changes().fills

    def _submit(self, placed: Order) -> None:
        best = self.engine.books[PRODUCT].best_price(placed.request.side.opposite)
        before = sums(self.engine)
        try:
            self.engine.submit(placed)
        except OrderRefusedError as refused:
            assert sums(self.engine) == before
            assert not self.engine.take_changes()
            if placed.request.post_only and refused.refusal is Refusal.WOULD_CROSS:
                assert best is not None
            return
        self.orders.append(placed)
        if placed.request.post_only and placed.request.time_in_force is TimeInForce.GTC:
            assert placed.fill_count == 0
        if placed.request.time_in_force is TimeInForce.FOK:
            assert placed.filled_size in (0, placed.request.base_size)

    def _check(self) -> None:
        assert sums(self.engine) == self.deposited
        for owner in ACCOUNTS:
            for balance in self.engine.ledger.balances(owner).values():
                assert balance.held >= 0
                assert balance.available >= 0
        book = self.engine.books[PRODUCT]
        bid, ask = book.best_price(Side.BUY), book.best_price(Side.SELL)
        assert bid is None or ask is None or bid < ask


@settings(max_examples=300, deadline=None)
@given(histories)
def test_money_is_conserved_and_never_negative(events: list[object]) -> None:
    history = History(events)

    held: dict[tuple[str, str], Decimal] = {}
    for resting in history.engine.open_orders.values():
        key = (resting.account_id, "USD" if resting.request.side is Side.BUY else "BTC")
        held[key] = held.get(key, Decimal(0)) + resting.hold
    for owner in ACCOUNTS:
        for currency, balance in history.engine.ledger.balances(owner).items():
            assert balance.held == held.get((owner, currency), 0)


@settings(max_examples=300, deadline=None)
@given(histories)
def test_orders_are_the_sum_of_their_fills(events: list[object]) -> None:
    history = History(events)

    assert len({fill.trade_id for fill in history.fills}) == len(history.fills)
    for placed in history.orders:
        fills = [fill for fill in history.fills if fill.order_id == placed.order_id]
        assert placed.filled_size == sum(fill.size for fill in fills)
        assert placed.filled_value == sum(fill.price * fill.size for fill in fills)
        assert placed.fees == sum(fill.fee for fill in fills)
        assert placed.fill_count == len(fills)
        limit = placed.request.limit_price
        if limit is not None:
            sign = 1 if placed.request.side is Side.BUY else -1
            assert all(sign * fill.price <= sign * limit for fill in fills)
        if placed.request.base_size is not None:
            assert placed.filled_size <= placed.request.base_size
        if placed.request.quote_size is not None:
            assert placed.filled_value + placed.fees <= placed.request.quote_size


@settings(max_examples=300, deadline=None)
@given(histories)
def test_only_resting_orders_stay_open_and_they_are_in_priority(events: list[object]) -> None:
    history = History(events)

    for placed in history.orders:
        is_open = placed.order_id in history.engine.open_orders
        assert is_open == (placed.status is OrderStatus.OPEN)
        if is_open:
            assert placed.request.type is OrderType.LIMIT
            assert placed.request.time_in_force is TimeInForce.GTC
            assert placed.remaining > 0
        else:
            assert placed.hold == 0
    for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
        resting = list(history.engine.books[PRODUCT].resting(side))
        ranks = [(sign * (o.request.limit_price or 0), o.sequence) for o in resting]
        assert ranks == sorted(ranks)


@settings(max_examples=100, deadline=None)
@given(histories)
def test_same_events_make_the_same_trades(events: list[object]) -> None:
    assert History(events).fills == History(events).fills


@given(st.lists(placements, max_size=5))
def test_liquidity_is_the_counterparty_of_the_ladder(events: list[dict[str, object]]) -> None:
    history = History([event | {"size": "0.02"} for event in events])

    bought = sum(
        fill.size if fill.side is Side.BUY else -fill.size
        for fill in history.fills
        if fill.from_ladder
    )
    assert history.engine.ledger.balance(LIQUIDITY_ACCOUNT, "BTC").total == -bought
