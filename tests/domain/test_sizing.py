from __future__ import annotations

from decimal import Decimal

import pytest

from domain.markets import MarketRules
from domain.sizing import Ceiling, least_entry_quantity, size_under

STEP = Decimal("0.01")
RULES = MarketRules(
    symbol="ETH-USD",
    base="ETH",
    quote="USD",
    quantity_step=STEP,
    price_step=Decimal("0.01"),
    quantity_min=Decimal("0.05"),
    notional_min=Decimal(10),
)


def test_the_lowest_ceiling_on_the_step() -> None:
    size = size_under(
        [
            Ceiling.of_notional("cash", Decimal(500), Decimal(100)),
            Ceiling.of_quantity("risk", Decimal("1.239")),
        ],
        least=Decimal("0.05"),
        quantity_step=STEP,
    )
    assert size.quantity == Decimal("1.23")
    assert size.binding.name == "risk"
    assert size.is_feasible


@pytest.mark.parametrize("ceiling", ["0.049", "0", "-3"])
def test_an_empty_interval_is_no_trade_and_raises_nothing(ceiling: str) -> None:
    size = size_under(
        [Ceiling.of_quantity("risk", Decimal(ceiling))], least=Decimal("0.05"), quantity_step=STEP
    )
    assert not size.is_feasible
    assert 0 <= size.quantity < Decimal("0.05")


def test_without_any_ceiling_there_is_no_size() -> None:
    with pytest.raises(ValueError, match="ceiling"):
        size_under([], least=STEP, quantity_step=STEP)


@pytest.mark.parametrize(
    ("lowest_price", "taker_rate", "least"),
    [
        ("1000", "0", "0.05"),  # the minimum quantity is more than the minimum notional
        ("100", "0", "0.10"),
        ("99", "0", "0.11"),  # rounded up to the step
        ("100", "0.01", "0.11"),  # a fee in the base currency would make the exit too small
    ],
)
def test_the_least_entry_can_be_left_again(lowest_price: str, taker_rate: str, least: str) -> None:
    found = least_entry_quantity(
        RULES, lowest_price=Decimal(lowest_price), taker_rate=Decimal(taker_rate)
    )
    assert found == Decimal(least)
