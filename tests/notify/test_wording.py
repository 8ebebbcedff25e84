"""Notices about coins whose price has nine zeros."""

from __future__ import annotations

import pytest

from services.notifying.wording import money, number, price, words_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("12.5", "$12.50"),
        ("-0.004", "-$0.004"),
        ("0.000000001", "$0.000000001"),
        ("-0.00000001234", "-$0.00000001234"),
        ("0", "$0.00"),
        ("1234567890123.5", "$1,234,567,890,123.50"),
    ],
)
def test_money_is_never_nothing(value: str, shown: str) -> None:
    assert money(value) == shown


def test_prices_and_quantities_keep_their_digits() -> None:
    assert price("0.000000001234") == "$0.000000001234"
    assert number("1234567890123.000000000000000001") == "1234567890123.000000000000000001"


def test_a_halted_market_is_told_of() -> None:
    facts = {"symbol": "BONK-USD", "venue": "coinbase", "mode": "paper", "quantity": "1E+12"}
    words = words_of("market_halted", facts)
    assert words.subject == "[Paper] BONK-USD cannot be traded at Coinbase"
    assert ("Quantity", "1000000000000") in words.section.figures


def test_an_order_of_unknown_fate_is_told_as_that() -> None:
    facts = {"symbol": "BTC-USD", "venue": "coinbase", "leg": "stop", "remaining": "3"}
    exit_ = words_of("order_unresolved", facts)
    entry = words_of("order_unresolved", facts | {"leg": "entry"})

    assert exit_.subject == "BTC-USD: what became of an order is not known"
    assert any("may have been sold" in text for text in exit_.section.sentences)
    assert any("If it was filled" in text for text in entry.section.sentences)


def test_the_daily_loss_limit_is_told_as_what_it_is() -> None:
    """Each entry is judged by the result of its moment: nothing lasts for the rest of the day."""
    words = words_of("daily_loss_reached", {"mode": "live", "day_pnl": "-200"})

    (sentence,) = words.section.sentences
    assert "rest of the day" not in sentence
    assert "while the net result of the day" in sentence
