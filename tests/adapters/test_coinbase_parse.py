"""Recorded answers, and what happens when a field of theirs is missing or wrong."""

from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapters.venues.coinbase import parse
from adapters.venues.errors import VenueAnswerMalformedError
from adapters.venues.simulator_clock import parse_simulator_clock
from domain.markets import MarketStatus
from domain.orders import CurrencyBalance, Liquidity, OrderState, Side

# Shapes of Coinbase's API reference, as ccxt 4.5.90 quotes them.
ORDER: dict[str, Any] = {
    "order_id": "9bc1eb3b",
    "product_id": "LTC-USD",
    "order_configuration": {
        "limit_limit_gtc": {"base_size": "0.2", "limit_price": "0.006", "post_only": False}
    },
    "side": "SELL",
    "client_order_id": "e5fe8482",
    "status": "OPEN",
    "created_time": "2023-01-16T23:37:23.947030Z",
    "filled_size": "0",
}
FILL: dict[str, Any] = {
    "entry_id": "b88b82cc",
    "trade_id": "cdc39e45",
    "order_id": "813a53c5",
    "trade_time": "2023-01-18T01:37:38.091377090Z",
    "trade_type": "FILL",
    "price": "21220.64",
    "size": "0.0046830664333996",
    "commission": "0.0000280983986004",
    "product_id": "BTC-USD",
    "sequence_timestamp": "2023-01-18T01:37:38.092520Z",
    "liquidity_indicator": "MAKER",
    "size_in_quote": False,
    "side": "BUY",
}
WALLET: dict[str, Any] = {
    "uuid": "u",
    "currency": "USD",
    "available_balance": {"value": "10.5", "currency": "USD"},
    "hold": {"value": "2.25", "currency": "USD"},
}
PRODUCT: dict[str, Any] = {
    "product_id": "BTC-USD",
    "base_increment": "0.00000001",
    "quote_increment": "0.01",
    "quote_min_size": "1",
    "base_min_size": "0.00000001",
    "price_increment": "0.01",
    "is_disabled": False,
    "cancel_only": False,
    "limit_only": False,
    "post_only": False,
    "trading_disabled": False,
    "auction_mode": False,
    "view_only": False,
    "quote_currency_id": "USD",
    "base_currency_id": "BTC",
}


def changed(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return deepcopy(source) | fields


def test_order() -> None:
    report = parse.parse_order(ORDER)

    assert report.state is OrderState.OPEN
    assert report.side is Side.SELL
    assert report.quantity == Decimal("0.2")
    assert report.created_at == datetime(2023, 1, 16, 23, 37, 23, 947030, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("PENDING", "0", OrderState.OPEN),
        ("FILLED", "0.2", OrderState.FILLED),
        ("CANCELLED", "0.1", OrderState.CANCELLED),
        ("EXPIRED", "0", OrderState.CANCELLED),
        ("FAILED", "0", OrderState.REFUSED),
        ("FAILED", "0.1", OrderState.CANCELLED),
        ("UNKNOWN_ORDER_STATUS", "0", OrderState.UNKNOWN),
    ],
)
def test_order_states(status: str, filled: str, state: OrderState) -> None:
    assert parse.parse_order(changed(ORDER, status=status, filled_size=filled)).state is state


def test_order_by_amount_has_no_base_quantity() -> None:
    order = changed(ORDER, order_configuration={"market_market_ioc": {"quote_size": "6.36"}})

    assert parse.parse_order(order).quantity is None


def test_fill() -> None:
    fill = parse.parse_fill(FILL)

    assert fill.venue_fill_id == "b88b82cc"
    assert (fill.price, fill.quantity) == (Decimal("21220.64"), Decimal("0.0046830664333996"))
    assert (fill.fee, fill.fee_currency) == (Decimal("0.0000280983986004"), "USD")
    assert fill.liquidity is Liquidity.MAKER
    assert fill.filled_at == datetime(2023, 1, 18, 1, 37, 38, 91377, tzinfo=UTC)


def test_fill_sized_in_quote_currency() -> None:
    fill = parse.parse_fill(changed(FILL, price="100", size="250", size_in_quote=True))

    assert fill.quantity == Decimal("2.5")


def test_balance_counts_what_is_held() -> None:
    assert parse.parse_balance(WALLET) == CurrencyBalance("USD", Decimal("12.75"), Decimal("2.25"))


@pytest.mark.parametrize(("name", "status"), parse._STATUSES)
def test_stopped_market_is_inactive(name: str, status: MarketStatus) -> None:
    assert parse.parse_rules(PRODUCT).active
    stopped = parse.parse_rules(changed(PRODUCT, **{name: True}))
    assert not stopped.active
    assert stopped.status is status


def test_maximums_of_an_order() -> None:
    limited = changed(PRODUCT, base_max_size="3400", quote_max_size="150000000")
    assert parse.parse_rules(limited).quantity_max == Decimal(3400)
    assert parse.parse_rules(limited).notional_max == Decimal(150_000_000)
    unlimited = changed(PRODUCT, base_max_size="", quote_max_size="")
    assert parse.parse_rules(unlimited).quantity_max is None
    assert parse.parse_rules(unlimited).notional_max is None


@pytest.mark.parametrize(
    ("parser", "answer", "names"),
    [
        (
            parse.parse_order,
            ORDER,
            ["order_id", "product_id", "side", "status", "created_time", "filled_size"],
        ),
        (parse.parse_order, ORDER, ["order_configuration"]),
        (
            parse.parse_fill,
            FILL,
            ["entry_id", "order_id", "price", "size", "commission", "trade_time", "trade_type"],
        ),
        (parse.parse_fill, FILL, ["side", "size_in_quote", "liquidity_indicator", "product_id"]),
        (parse.parse_balance, WALLET, ["currency", "available_balance", "hold"]),
        (parse.parse_rules, PRODUCT, ["product_id", "base_increment", "is_disabled"]),
    ],
)
@pytest.mark.parametrize("value", [None, "", "NaN", [], {}, 1.5, "zzz"])
def test_no_field_is_ever_guessed(parser: Any, answer: Any, names: list[str], value: Any) -> None:
    for name in names:
        with pytest.raises(VenueAnswerMalformedError):
            parser({key: field for key, field in answer.items() if key != name})
        names_or_words = {"order_id", "entry_id", "currency", "product_id", "status"}
        if isinstance(value, str) and value and name in names_or_words:
            continue  # Any text will do for a name; a status of no meaning is an unknown one.
        with pytest.raises(VenueAnswerMalformedError):
            parser(changed(answer, **{name: value}))


def test_a_status_of_no_meaning_is_an_unknown_one_beside_what_was_filled() -> None:
    order = parse.parse_order(changed(ORDER, status="PARTIALLY_ROUTED", filled_size="0.5"))

    assert (order.state, order.filled_quantity) == (OrderState.UNKNOWN, Decimal("0.5"))


@pytest.mark.parametrize("trade_type", ["REVERSAL", "CORRECTION", "SYNTHETIC"])
def test_executions_that_are_not_fills_stop_the_reading(trade_type: str) -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_fill(changed(FILL, trade_type=trade_type))


def test_naive_time_is_malformed() -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_order(changed(ORDER, created_time="2023-01-16T23:37:23"))


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_at_the_end_of_the_calendar_is_malformed(at: str) -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_order(changed(ORDER, created_time=at))
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_fill(changed(FILL, trade_time=at))
    with pytest.raises(VenueAnswerMalformedError):
        parse_simulator_clock({"now": at, "epoch": 1})


@pytest.mark.parametrize("milliseconds", ["0", "-1", "1" * 20, "9" * 40, 10**30])
def test_a_clock_of_no_year_that_has_markets_is_malformed(milliseconds: str | int) -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_time({"epochMillis": milliseconds})


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\nb", "x" * 10_000])
def test_a_name_that_no_database_or_line_takes_is_malformed(name: str) -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_order(changed(ORDER, order_id=name))
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_fill(changed(FILL, entry_id=name))
    with pytest.raises(VenueAnswerMalformedError):
        parse.parse_balance(changed(WALLET, currency=name))
    assert parse.parse_order(changed(ORDER, client_order_id=name)).client_order_id is None
