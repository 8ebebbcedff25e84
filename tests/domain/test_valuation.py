from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.valuation import (
    DEFAULT_STABLECOINS,
    AccountValue,
    Stablecoins,
    flow_tolerance,
    markets_pricing,
    price_of,
    value,
)

USD = "USD"


def valued(held: dict[str, str], **prices: str) -> AccountValue:
    return value(
        {currency: Decimal(total) for currency, total in held.items()},
        USD,
        {symbol.replace("_", "-"): Decimal(price) for symbol, price in prices.items()},
    )


def test_cash_and_what_has_a_market() -> None:
    found = valued({"USD": "100", "BTC": "0.5"}, BTC_USD="40000")
    assert found == AccountValue(Decimal(100), Decimal(20_100))
    assert not found.is_lower_bound


def test_a_stablecoin_counts_at_par_where_it_has_no_market() -> None:
    assert valued({"USD": "1", "USDC": "250"}).equity == 251
    assert valued({"USD": "1", "USDT": "100"}, USDT_USD="0.9").equity == 91


def test_what_trades_against_a_stablecoin_is_priced_through_it() -> None:
    assert valued({"BONK": "1000000"}, BONK_USDC="0.00002").equity == 20
    assert valued({"BONK": "1000000"}, BONK_USDT="0.00002", USDT_USD="0.5").equity == 10


def test_what_has_no_price_is_named_and_left_out() -> None:
    found = valued({"USD": "7", "STAKED": "3", "EUR": "1000", "GONE": "0"}, GONE_USD="5")
    assert found == AccountValue(Decimal(7), Decimal(7), ("EUR", "STAKED"))
    assert found.is_lower_bound


@pytest.mark.parametrize("price", ["0", "-1"])
def test_nothing_is_priced_at_zero(price: str) -> None:
    assert valued({"BTC": "1"}, BTC_USD=price).unpriced == ("BTC",)


def test_each_currency_has_its_own_stablecoins() -> None:
    euro = value({"EURC": Decimal(5), "USDC": Decimal(5)}, "EUR", {})
    assert euro == AccountValue(Decimal(0), Decimal(5), ("USDC",))


def test_the_setting_is_read_and_written() -> None:
    coins = Stablecoins.parse(" usdc=usd , EURC=EUR,")
    assert coins.pegs == (("USDC", "USD"), ("EURC", "EUR"))
    assert Stablecoins.parse(str(coins)) == coins
    assert Stablecoins.parse("") == Stablecoins()


@pytest.mark.parametrize("text", ["USDC", "USDC=USD=X", "USD=USD", "USDC=USD,USDC=EUR", "a b=USD"])
def test_another_form_of_the_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stablecoin"):
        Stablecoins.parse(text)


_names = st.sampled_from(["USD", "EUR", "USDC", "USDT", "BTC", "BONK"])
_amounts = st.decimals(min_value=0, max_value=10**12, places=12)


@given(
    held=st.dictionaries(_names, _amounts),
    prices=st.dictionaries(st.tuples(_names, _names).map("-".join), _amounts, max_size=6),
)
def test_equity_is_the_sum_of_its_priced_parts(
    held: dict[str, Decimal], prices: dict[str, Decimal]
) -> None:
    found = value(held, USD, prices)
    parts = {currency: price_of(currency, USD, prices, DEFAULT_STABLECOINS) for currency in held}
    assert found.equity == sum(
        (held[currency] * price for currency, price in parts.items() if price is not None),
        Decimal(0),
    )
    assert set(found.unpriced) == {
        name for name, price in parts.items() if not price and held[name]
    }
    # Only the markets that are named decide.
    for currency in held:
        needed = set(markets_pricing(currency, USD, DEFAULT_STABLECOINS))
        fewer = {symbol: price for symbol, price in prices.items() if symbol in needed}
        assert price_of(currency, USD, fewer, DEFAULT_STABLECOINS) == parts[currency]


def test_the_tolerance_of_a_flow_is_the_currencys_precision() -> None:
    assert flow_tolerance(Decimal("0.01")) == Decimal("0.01")
    assert flow_tolerance(None) == 0
    assert flow_tolerance(Decimal(0)) == 0
