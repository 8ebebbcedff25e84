"""Sizes and bounds of exit orders."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.exits import (
    FOUND_FOR,
    TooLarge,
    exit_limit_price,
    largest_found,
    largest_order,
    partial_quantity,
)
from domain.markets import MarketRules
from domain.orders import Side

RULES = MarketRules(
    symbol="BTC-USD",
    base="BTC",
    quote="USD",
    quantity_step=Decimal("0.1"),
    price_step=Decimal("0.01"),
    quantity_min=Decimal("0.5"),
    notional_min=Decimal(10),
    quantity_max=Decimal(4),
    notional_max=Decimal(500),
)


def test_an_order_carries_no_more_than_the_maximums() -> None:
    assert largest_order(Decimal(3), RULES, price=Decimal(10)) == Decimal(3)
    assert largest_order(Decimal(9), RULES, price=Decimal(10)) == Decimal(4)
    assert largest_order(Decimal(9), RULES, price=Decimal(200)) == Decimal("2.3")
    assert largest_order(Decimal(9), RULES, price=None) == Decimal(4)


def test_no_rest_is_left_that_is_too_small_for_an_order() -> None:
    assert largest_order(Decimal("4.2"), RULES, price=None) == Decimal("3.5")


def test_a_maximum_that_was_found_doubles_with_time_and_yields_to_a_published_one() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    silent = replace(RULES, quantity_max=None, notional_max=None)
    refused = [TooLarge(Decimal(9), now), TooLarge(Decimal("4.6"), now)]

    def found(after: timedelta, rules: MarketRules = silent) -> Decimal | None:
        return largest_found(refused, rules, price=Decimal(10), now=now + after)

    assert found(timedelta(0)) == found(timedelta(seconds=-5)) == Decimal("2.3")
    assert found(FOUND_FOR) == Decimal("4.6")
    assert found(2 * FOUND_FOR) == Decimal("9.2")
    assert found(timedelta(0), replace(silent, quantity_max=Decimal(5))) == Decimal("2.3")
    assert found(timedelta(0), RULES) is None
    assert largest_found([TooLarge(Decimal("0.1"), now)], silent, price=None, now=now) is None


def test_maximums_that_allow_nothing_are_not_believed() -> None:
    wrong = replace(RULES, quantity_max=Decimal("0.01"), notional_max=None)
    assert largest_order(Decimal(3), wrong, price=None) == Decimal(3)


def test_a_part_leaves_no_rest_below_the_minimums() -> None:
    assert partial_quantity(Decimal(1), Decimal(3), RULES, price=Decimal(100)) == Decimal(1)
    assert partial_quantity(Decimal("2.6"), Decimal(3), RULES, price=Decimal(100)) == Decimal(3)
    assert partial_quantity(Decimal(1), Decimal(3), RULES, price=Decimal(4)) == Decimal(3)
    assert partial_quantity(Decimal("0.01"), Decimal(3), RULES, price=None) == 0


def test_a_bound_moves_away_with_each_try_and_stays_a_price() -> None:
    bounds = [exit_limit_price(Side.SELL, Decimal(100), RULES, tries=tries) for tries in range(8)]
    assert bounds[:3] == [Decimal(99), Decimal(98), Decimal(96)]
    assert bounds[-1] == Decimal(50)
    assert exit_limit_price(Side.BUY, Decimal(100), RULES, tries=0) == Decimal(101)
    assert exit_limit_price(Side.SELL, Decimal("0.001"), RULES, tries=0) == RULES.price_step
