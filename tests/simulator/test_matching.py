from decimal import Decimal

import pytest

from simulator.engine.values import (
    Liquidity,
    OrderRefusedError,
    OrderStatus,
    Refusal,
    Side,
    TimeInForce,
)
from tests.simulator.engines import PRODUCT, engine, order, sums

BUY, SELL = Side.BUY, Side.SELL


def test_market_buy_by_size_walks_the_ladder() -> None:
    venue = engine()
    bought = order(venue, BUY, size="1.5")

    venue.submit(bought)

    fills = venue.take_changes().fills
    assert [(fill.price, fill.size) for fill in fills] == [
        (Decimal("101.00"), Decimal("0.99009900")),
        (Decimal("102.00"), Decimal("0.50990100")),
    ]
    assert {fill.liquidity for fill in fills} == {Liquidity.TAKER}
    assert bought.status is OrderStatus.FILLED
    assert bought.hold == 0
    assert venue.ledger.balance("alice", "BTC").total == Decimal("11.5")
    assert venue.ledger.balance("alice", "USD").total == 1000 - bought.filled_value - bought.fees


def test_market_buy_by_amount_includes_the_fee() -> None:
    venue = engine()
    bought = order(venue, BUY, amount="50")

    venue.submit(bought)

    spent = bought.filled_value + bought.fees
    assert bought.status is OrderStatus.FILLED
    assert Decimal("49.99999") < spent <= 50
    assert bought.fees == bought.filled_value * Decimal("0.001")
    assert venue.ledger.balance("alice", "USD").held == 0


def test_market_sell_beyond_the_ladder_is_cut() -> None:
    venue = engine({"alice": ("0", "1000")})
    sold = order(venue, SELL, size="1000")

    venue.submit(sold)

    assert sold.status is OrderStatus.CANCELLED
    assert Decimal(5) < sold.filled_size < Decimal(6)
    assert venue.ledger.balance("alice", "BTC").held == 0


def test_consumed_liquidity_stays_consumed_until_the_next_tick() -> None:
    venue = engine()
    venue.submit(order(venue, BUY, size="0.99009900"))

    again = order(venue, BUY, size="0.1")
    venue.submit(again)
    assert again.average_price == 102

    venue.tick(PRODUCT, Decimal(100), Decimal(0), time_ms=3)
    later = order(venue, BUY, size="0.1")
    venue.submit(later)
    assert later.average_price == 101


def test_limit_order_rests_with_a_hold_and_gives_it_back_on_cancel() -> None:
    venue = engine()
    resting = order(venue, BUY, size="2", price="98.50")

    venue.submit(resting)

    balance = venue.ledger.balance("alice", "USD")
    assert resting.order_id in venue.open_orders
    assert balance.held == Decimal("197.197")
    assert balance.available == Decimal("802.803")

    venue.cancel(resting, "enough")

    assert resting.status is OrderStatus.CANCELLED
    assert venue.ledger.balance("alice", "USD").held == 0
    assert not venue.open_orders


def test_resting_order_fills_at_its_own_price_as_far_as_the_volume_goes() -> None:
    venue = engine()
    resting = order(venue, BUY, size="2", price="98.50")
    venue.submit(resting)

    venue.tick(PRODUCT, Decimal("98.51"), Decimal(5), time_ms=3)
    assert resting.filled_size == 0

    venue.tick(PRODUCT, Decimal(97), Decimal("0.5"), time_ms=4)
    assert resting.filled_size == Decimal("0.5")
    assert resting.order_id in venue.open_orders

    venue.tick(PRODUCT, Decimal(97), Decimal(5), time_ms=5)
    assert resting.status is OrderStatus.FILLED
    assert resting.average_price == Decimal("98.50")
    assert resting.fees == resting.filled_value * Decimal("0.0006")
    assert venue.ledger.balance("alice", "USD").held == 0


def test_ladder_does_not_quote_through_a_resting_order() -> None:
    venue = engine()
    resting = order(venue, BUY, size="2", price="98.50")
    venue.submit(resting)

    venue.tick(PRODUCT, Decimal(90), Decimal(1), time_ms=3)

    book = venue.books[PRODUCT]
    assert book.best_price(BUY) == Decimal("98.50")
    asked = book.best_price(SELL)
    assert asked is None or asked > Decimal("98.50")


def test_better_price_goes_first_and_then_the_older_order() -> None:
    venue = engine({"alice": ("1000", "0"), "bob": ("1000", "0"), "carol": ("1000", "0")})
    late_and_better = order(venue, BUY, account="carol", size="1", price="98.50")
    first = order(venue, BUY, size="1", price="98")
    second = order(venue, BUY, account="bob", size="1", price="98")
    for resting in (first, second, late_and_better):
        venue.submit(resting)

    venue.tick(PRODUCT, Decimal(95), Decimal("2.5"), time_ms=3)

    assert late_and_better.status is OrderStatus.FILLED
    assert first.status is OrderStatus.FILLED
    assert second.filled_size == Decimal("0.5")


def test_clients_trade_with_each_other_before_the_worse_ladder() -> None:
    venue = engine({"alice": ("1000", "0"), "bob": ("0", "10")})
    resting = order(venue, BUY, size="1", price="99.50")
    venue.submit(resting)

    sold = order(venue, SELL, account="bob", size="1.5")
    venue.submit(sold)

    fills = [fill for fill in venue.take_changes().fills if fill.account_id == "bob"]
    assert [(fill.price, fill.from_ladder) for fill in fills] == [
        (Decimal("99.50"), False),
        (Decimal("99.00"), True),
    ]
    assert resting.status is OrderStatus.FILLED


def test_ioc_cancels_the_rest() -> None:
    venue = engine()
    cut = order(venue, BUY, size="3", price="101", time_in_force=TimeInForce.IOC)

    venue.submit(cut)

    assert cut.status is OrderStatus.CANCELLED
    assert cut.filled_size == Decimal("0.99009900")
    assert venue.ledger.balance("alice", "USD").held == 0


def test_fok_takes_all_or_nothing() -> None:
    venue = engine()
    too_much = order(venue, BUY, size="3", price="101", time_in_force=TimeInForce.FOK)
    enough = order(venue, BUY, size="1.5", price="102", time_in_force=TimeInForce.FOK)

    venue.submit(too_much)
    venue.submit(enough)

    assert (too_much.status, too_much.filled_size) == (OrderStatus.CANCELLED, Decimal(0))
    assert (enough.status, enough.filled_size) == (OrderStatus.FILLED, Decimal("1.5"))


def test_own_orders_never_trade_with_each_other() -> None:
    venue = engine()
    resting = order(venue, BUY, size="1", price="99.50")
    venue.submit(resting)

    sold = order(venue, SELL, size="1", price="99")
    venue.submit(sold)

    assert sold.status is OrderStatus.CANCELLED
    assert sold.cancel_reason == "Self trade prevented"
    assert resting.status is OrderStatus.OPEN


@pytest.mark.parametrize(
    ("refusal", "wanted"),
    [
        (Refusal.INSUFFICIENT_FUNDS, {"side": BUY, "size": "50", "price": "99"}),
        (Refusal.INSUFFICIENT_FUNDS, {"side": SELL, "size": "11", "price": "120"}),
        (Refusal.INSUFFICIENT_FUNDS, {"side": BUY, "amount": "1000.01"}),
        (Refusal.WOULD_CROSS, {"side": BUY, "size": "1", "price": "101", "post_only": True}),
        (Refusal.PRICE_PRECISION, {"side": BUY, "size": "1", "price": "99.001"}),
        (Refusal.SIZE_PRECISION, {"side": BUY, "size": "0.000000001", "price": "99"}),
        (Refusal.QUOTE_SIZE_PRECISION, {"side": BUY, "amount": "10.001"}),
        (Refusal.QUOTE_SIZE_TOO_SMALL, {"side": BUY, "amount": "0.99"}),
        (Refusal.QUOTE_SIZE_TOO_SMALL, {"side": BUY, "size": "0.01", "price": "99"}),
        (Refusal.BASE_SIZE_TOO_LARGE, {"side": SELL, "size": "3401", "price": "99"}),
    ],
)
def test_refusals_change_nothing(refusal: Refusal, wanted: dict[str, object]) -> None:
    venue = engine()
    before = sums(venue)

    with pytest.raises(OrderRefusedError) as refused:
        venue.submit(order(venue, **wanted))  # type: ignore[arg-type]  # parametrized keywords

    assert refused.value.refusal is refusal
    assert sums(venue) == before
    assert venue.ledger.balance("alice", "USD").held == 0
    assert not venue.take_changes()


def test_market_order_without_liquidity_is_refused() -> None:
    venue = engine({"alice": ("0", "1000")})
    venue.submit(order(venue, SELL, size="100"))
    venue.take_changes()

    with pytest.raises(OrderRefusedError) as refused:
        venue.submit(order(venue, SELL, size="1"))

    assert refused.value.refusal is Refusal.NO_LIQUIDITY


def test_holds_cover_the_fees_of_many_tiny_fills() -> None:
    venue = engine({"alice": ("98.56", "0")})
    resting = order(venue, BUY, size="0.99999999", price="98.46")
    venue.submit(resting)

    for number in range(400):
        venue.tick(PRODUCT, Decimal(98), Decimal("0.00250001"), time_ms=3 + number)

    assert resting.status is OrderStatus.FILLED
    assert venue.ledger.balance("alice", "USD").held == 0
    assert venue.ledger.balance("alice", "USD").total >= 0
