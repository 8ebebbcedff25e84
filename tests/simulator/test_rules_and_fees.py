from decimal import Decimal

import pytest

from simulator.engine.fees import FEE_TIERS, UnknownFeeTierError, fee_of, fee_tier, fee_to_hold
from simulator.engine.rules import currencies_of, rules_for


def test_known_product_has_its_venue_increments() -> None:
    rules = rules_for("DOGE-USD", Decimal("0.2"))

    assert (rules.base_increment, rules.price_increment) == (Decimal("0.1"), Decimal("0.00001"))
    assert rules.quote_min_size == 1


@pytest.mark.parametrize(
    ("price", "increment"),
    [
        ("5000", "0.01"),
        ("7", "0.0001"),
        ("0.05", "0.000001"),
        ("0.002", "1e-8"),
        ("1e-6", "1e-10"),
        ("1.2e-9", "1e-13"),
    ],
)
def test_unknown_product_has_increments_that_suit_its_price(price: str, increment: str) -> None:
    assert rules_for("NEW-USD", Decimal(price)).price_increment == Decimal(increment)


def test_a_coin_of_which_a_dollar_buys_billions_trades_in_whole_ones() -> None:
    rules = rules_for("SATS-USD", Decimal("1e-9"))

    assert rules.base_increment == rules.base_min_size == 1
    assert rules.base_max_size * Decimal("1e-9") > 100_000


def test_product_quoted_in_coins_is_not_priced_in_cents() -> None:
    rules = rules_for("ETH-BTC", Decimal("0.05"))

    assert rules.price_increment == Decimal("0.000001")
    assert rules.quote_increment == Decimal("1e-8")


def test_perpetual_trades_against_dollars() -> None:
    assert currencies_of("BTC-PERP") == ("BTC", "USD")


def test_rounding_of_prices_and_sizes() -> None:
    rules = rules_for("BTC-USD", Decimal(100))

    assert rules.price_down(Decimal("100.019")) == Decimal("100.01")
    assert rules.price_up(Decimal("100.011")) == Decimal("100.02")
    assert rules.price_up(Decimal("100.01")) == Decimal("100.01")
    assert rules.size_down(Decimal("0.123456789")) == Decimal("0.12345678")


def test_fee_tier_by_name_and_by_taker_rate() -> None:
    assert fee_tier("retail").taker == Decimal("0.006")
    assert fee_tier("retail").maker == Decimal("0.004")
    assert fee_tier("0.10%") is fee_tier("vip")
    assert fee_tier("vip").maker == Decimal("0.0006")


@pytest.mark.parametrize("name", ["none", "0.11%", "x%", ""])
def test_unknown_fee_tier_is_refused(name: str) -> None:
    with pytest.raises(UnknownFeeTierError, match="known: intro"):
        fee_tier(name)


def test_makers_never_pay_more_than_takers() -> None:
    assert all(tier.maker <= tier.taker for tier in FEE_TIERS.values())


def test_fees_round_down_and_holds_round_up() -> None:
    notional = Decimal("1.00000000000012")

    assert fee_of(notional, Decimal("0.0001")) == Decimal("0.0001000000000000")
    assert fee_to_hold(notional, Decimal("0.0001")) == Decimal("0.0001000000000001")
