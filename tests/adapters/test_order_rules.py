"""Published rules: refused here exactly when the venue would refuse."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.venues.order_rules import refusal_by_rules
from domain.markets import MarketRules
from domain.money import floor_to_step
from domain.orders import OrderRequest, OrderType, Side, TimeInForce

RULES = MarketRules(
    symbol="BTC-USD",
    base="BTC",
    quote="USD",
    quantity_step=Decimal("0.001"),
    price_step=Decimal("0.05"),
    quantity_min=Decimal("0.002"),
    notional_min=Decimal(1),
)
GOOD = OrderRequest(
    "c", "BTC-USD", Side.BUY, OrderType.LIMIT, Decimal("0.5"), Decimal("100.05"), TimeInForce.IOC
)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, None),
        ({"quantity": Decimal(0)}, "quantity_precision"),
        ({"quantity": Decimal("-0.5")}, "quantity_precision"),
        ({"quantity": Decimal("0.5001")}, "quantity_precision"),
        ({"quantity": Decimal("0.001")}, "quantity_minimum"),
        ({"limit_price": Decimal("100.04")}, "price_precision"),
        ({"limit_price": Decimal(0)}, "price_precision"),
        ({"limit_price": Decimal("1.95")}, "notional_minimum"),
        ({"limit_price": None}, "price_missing"),
        ({"post_only": True}, "post_only_needs_gtc"),
        ({"post_only": True, "time_in_force": TimeInForce.GTC}, None),
        ({"type": OrderType.MARKET, "limit_price": None}, None),
        (
            {"type": OrderType.MARKET, "time_in_force": TimeInForce.FOK},
            "unsupported_time_in_force",
        ),
    ],
)
def test_rules(fields: dict[str, object], code: str | None) -> None:
    refusal = refusal_by_rules(replace(GOOD, **fields), RULES)  # type: ignore[arg-type]  # a table

    assert (refusal.code if refusal else None) == code


def test_inactive_market_is_for_the_venue_to_refuse() -> None:
    assert refusal_by_rules(GOOD, replace(RULES, active=False)) is None


@given(st.decimals("0.01", "1000", places=9), st.decimals("10", "100000", places=9))
def test_rounded_orders_are_never_refused_for_precision(quantity: Decimal, price: Decimal) -> None:
    request = replace(
        GOOD,
        quantity=floor_to_step(quantity, RULES.quantity_step),
        limit_price=floor_to_step(price, RULES.price_step),
    )

    refusal = refusal_by_rules(request, RULES)

    assert refusal is None or not refusal.code.endswith("_precision")
