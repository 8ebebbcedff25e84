"""Invariants of paper execution, over arbitrary books and orders."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.markets import BookLevel, FeeRates, MarketRules, OrderBook
from domain.money import ZERO
from domain.orders import (
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Refused,
    Side,
    TimeInForce,
)
from domain.paper import (
    Execution,
    Funds,
    execute,
    fill_reports,
    funds_needed,
    paper_order_id,
)
from simulator.engine import fees as simulator_fees

FEES = FeeRates(maker_rate=Decimal("0.004"), taker_rate=Decimal("0.006"))
RULES = MarketRules(
    "BTC-USD", "BTC", "USD", Decimal("0.01"), Decimal("0.01"), Decimal("0.01"), Decimal(1)
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

cents = st.integers(1, 1_000).map(lambda number: Decimal(number) / 100)
levels = st.lists(st.tuples(cents, cents), max_size=8, unique_by=lambda level: level[0])


@st.composite
def books(draw: st.DrawFn) -> OrderBook:
    bids = sorted(draw(levels), reverse=True)
    asks = sorted(draw(levels))
    return OrderBook(
        "BTC-USD",
        tuple(BookLevel(100 + price, size) for price, size in bids),
        tuple(BookLevel(200 + price, size) for price, size in asks),
    )


@st.composite
def requests(draw: st.DrawFn) -> OrderRequest:
    kind = draw(st.sampled_from(OrderType))
    is_limit = kind is OrderType.LIMIT
    return OrderRequest(
        client_order_id=str(draw(st.uuids())),
        symbol="BTC-USD",
        side=draw(st.sampled_from(Side)),
        type=kind,
        quantity=draw(cents),
        limit_price=100 + draw(cents) * 11 if is_limit else None,
        time_in_force=draw(st.sampled_from(TimeInForce)) if is_limit else TimeInForce.IOC,
    )


@given(requests(), books())
def test_takes_are_real_and_within_bounds(request: OrderRequest, book: OrderBook) -> None:
    outcome = execute(request, book, FEES)

    if isinstance(outcome, Refused):
        assert outcome.code == "no_liquidity"
        return
    side = book.asks if request.side is Side.BUY else book.bids
    offered = {level.price: level.quantity for level in side}
    assert outcome.filled_quantity <= request.quantity
    prices = [take.price for take in outcome.takes]
    assert prices == sorted(prices, reverse=request.side is Side.SELL)
    for take in outcome.takes:
        assert ZERO < take.quantity <= offered[take.price]
        assert take.fee <= take.notional * FEES.taker_rate
        if request.limit_price is not None:
            assert (request.limit_price - take.price) * request.side.sign >= ZERO


@given(requests(), books())
def test_state_says_what_was_filled(request: OrderRequest, book: OrderBook) -> None:
    outcome = execute(request, book, FEES)

    if isinstance(outcome, Refused):
        return
    is_complete = outcome.filled_quantity == request.quantity
    assert (outcome.state is OrderState.FILLED) is is_complete
    if request.time_in_force is TimeInForce.FOK and not is_complete:
        assert outcome == Execution((), OrderState.CANCELLED)
    if outcome.state is OrderState.OPEN:
        assert request.time_in_force is TimeInForce.GTC


@given(requests(), books())
def test_a_level_is_used_up_before_the_next(request: OrderRequest, book: OrderBook) -> None:
    outcome = execute(request, book, FEES)

    if isinstance(outcome, Refused):
        return
    side = book.asks if request.side is Side.BUY else book.bids
    assert [take.price for take in outcome.takes] == [
        level.price for level in side[: len(outcome.takes)]
    ]
    for take, level in list(zip(outcome.takes, side, strict=False))[:-1]:
        assert take.quantity == level.quantity


@given(requests(), books())
def test_funds_needed_cover_what_is_spent(request: OrderRequest, book: OrderBook) -> None:
    outcome = execute(request, book, FEES)

    if isinstance(outcome, Refused):
        return
    funds = funds_needed(request, outcome, FEES, base=RULES.base, quote=RULES.quote)
    if request.side is Side.SELL:
        assert funds == Funds("BTC", request.quantity)
    else:
        assert funds.currency == "USD"
        assert funds.amount >= sum((t.notional + t.fee for t in outcome.takes), ZERO)


@given(requests(), books(), st.uuids())
def test_ids_depend_on_the_order_alone(
    request: OrderRequest, book: OrderBook, account_id: uuid.UUID
) -> None:
    outcome = execute(request, book, FEES)

    if isinstance(outcome, Refused):
        return
    order_id = paper_order_id(account_id, request.client_order_id)
    first, second = (
        fill_reports(request, outcome, venue_order_id=order_id, fee_currency="USD", at=NOW)
        for _ in range(2)
    )
    assert first == second
    assert len({fill.venue_fill_id for fill in first}) == len(outcome.takes)
    assert {fill.liquidity for fill in first} <= {Liquidity.TAKER}
    assert order_id != paper_order_id(uuid.uuid4(), request.client_order_id)


def order(
    side: Side, quantity: str, price: str | None, tif: TimeInForce, **extra: bool
) -> OrderRequest:
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    limit = None if price is None else Decimal(price)
    return OrderRequest("c", "BTC-USD", side, kind, Decimal(quantity), limit, tif, **extra)


BOOK = OrderBook(
    "BTC-USD",
    (BookLevel(Decimal(99), Decimal(1)), BookLevel(Decimal(98), Decimal(2))),
    (BookLevel(Decimal(101), Decimal(1)), BookLevel(Decimal(102), Decimal(2))),
)


@pytest.mark.parametrize(
    ("request_", "takes", "state"),
    [
        (order(Side.BUY, "2", None, TimeInForce.IOC), [(101, 1), (102, 1)], OrderState.FILLED),
        (order(Side.BUY, "5", None, TimeInForce.IOC), [(101, 1), (102, 2)], OrderState.CANCELLED),
        (order(Side.BUY, "2", "101", TimeInForce.IOC), [(101, 1)], OrderState.CANCELLED),
        (order(Side.BUY, "2", "100", TimeInForce.IOC), [], OrderState.CANCELLED),
        (order(Side.BUY, "2", "101", TimeInForce.FOK), [], OrderState.CANCELLED),
        (order(Side.SELL, "2", "98", TimeInForce.FOK), [(99, 1), (98, 1)], OrderState.FILLED),
        (order(Side.SELL, "2", "99", TimeInForce.GTC), [(99, 1)], OrderState.OPEN),
        (order(Side.SELL, "2", "100", TimeInForce.GTC, post_only=True), [], OrderState.OPEN),
    ],
)
def test_examples(request_: OrderRequest, takes: list[tuple[int, int]], state: OrderState) -> None:
    outcome = execute(request_, BOOK, FEES)

    assert isinstance(outcome, Execution)
    assert [(int(take.price), int(take.quantity)) for take in outcome.takes] == takes
    assert outcome.state is state


def test_post_only_that_would_trade_is_refused() -> None:
    outcome = execute(order(Side.SELL, "1", "99", TimeInForce.GTC, post_only=True), BOOK, FEES)

    assert isinstance(outcome, Refused)
    assert outcome.code == "post_only_would_cross"


@given(cents, cents, st.decimals("0", "0.02", places=4))
def test_fee_is_the_simulators(price: Decimal, quantity: Decimal, rate: Decimal) -> None:
    book = OrderBook("BTC-USD", (BookLevel(price, quantity),), ())
    request = order(Side.SELL, str(quantity), None, TimeInForce.IOC)

    outcome = execute(request, book, FeeRates(rate, rate))

    assert isinstance(outcome, Execution)
    assert outcome.takes[0].fee == simulator_fees.fee_of(price * quantity, rate)
