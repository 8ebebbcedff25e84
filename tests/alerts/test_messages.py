"""What an alert's message may look like."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from api.nija.schemas.webhooks import parse_alert
from domain.alerts import AlertWish, market_symbol
from domain.contracts.bots import SignalAction
from domain.positions import Direction
from services.alerts.errors import AlertMalformed


def read(**fields: Any) -> AlertWish:
    body = {"symbol": "BTC-USD", "action": "buy", "api_key": "k", **fields}
    _key, offer = parse_alert(json.dumps(body).encode())
    assert offer.wish is not None, offer
    assert not offer.wish.unusable
    return offer.wish


def problems(body: dict[str, Any]) -> dict[str, str]:
    _key, offer = parse_alert(
        json.dumps({"symbol": "BTC-USD", "action": "buy", "api_key": "k"} | body).encode()
    )
    return dict(offer.problems if offer.wish is None else offer.wish.unusable)


def test_the_contracts_own_sample_is_read() -> None:
    key, offer = parse_alert(
        b'{"symbol": "BTC-USD", "action": "buy", "price": 43210.50, "strategy": "APEX_V72",'
        b' "api_key": "your_webhook_key"}'
    )

    assert key == "your_webhook_key"
    assert offer.wish == AlertWish(
        "BTC-USD", SignalAction.BUY, price=Decimal("43210.50"), strategy="APEX_V72"
    )


@pytest.mark.parametrize(
    ("ticker", "market"),
    [
        ("BTC-USD", "BTC-USD"),
        ("btc/usd", "BTC-USD"),
        ("BTCUSD", "BTC-USD"),
        ("COINBASE:ETHUSD", "ETH-USD"),
        ("BINANCE:BTCUSDT", "BTC-USDT"),
        ("ETH-BTC", "ETH-BTC"),
        ("BTCUSDT.P", None),
        ("USD", None),
        ("", None),
        ("BTC-USD; DROP", None),
    ],
)
def test_a_charts_ticker_names_a_market(ticker: str, market: str | None) -> None:
    assert market_symbol(ticker) == market


@pytest.mark.parametrize(
    ("word", "action"),
    [
        ("buy", SignalAction.BUY),
        ("LONG", SignalAction.BUY),
        ("sell", SignalAction.SELL),
        ("short", SignalAction.SELL),
        ("close", SignalAction.CLOSE),
        (" Exit ", SignalAction.CLOSE),
        ("flat", SignalAction.CLOSE),
        ("close_long", SignalAction.CLOSE),
        ("EXIT_SHORT", SignalAction.CLOSE),
    ],
)
def test_actions_have_several_words(word: str, action: SignalAction) -> None:
    assert read(action=word).action is action


def test_numbers_may_be_quoted_and_stay_exact() -> None:
    wish = read(price="43210.50", size_usd=0.1, quantity="0.00010000")

    assert (wish.price, wish.size_usd) == (Decimal("43210.50"), Decimal("0.1"))
    assert wish.quantity == Decimal("0.0001")


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-29T10:42:00Z",
        "2026-01-29T10:42:00",
        "2026-01-29T12:42:00+02:00",
        1769683320,
        1769683320000,
        "1769683320000",
    ],
)
def test_times_are_iso_or_counted_since_1970(time: object) -> None:
    assert read(time=time).alerted_at == datetime(2026, 1, 29, 10, 42, tzinfo=UTC)


def test_names_it_does_not_know_are_ignored() -> None:
    assert read(passphrase="x", exchange="COINBASE").symbol == "BTC-USD"


def test_its_own_id_may_be_a_number() -> None:
    assert read(id=17).reference == "17"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "hold"}, "action"),
        ({"action": 1}, "action"),
        ({"symbol": 1}, "symbol"),
        ({"symbol": "BTC USD"}, "symbol"),
        ({"size_usd": 0}, "size_usd"),
        ({"size_usd": -1}, "size_usd"),
        ({"size_usd": True}, "size_usd"),
        ({"size_usd": "much"}, "size_usd"),
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "1e999999"}, "quantity"),
        ({"quantity": "9" * 5000}, "quantity"),
        ({"size_usd": ""}, "size_usd"),
        ({"percent": 101}, "percent"),
        ({"percent": "1e-999999999"}, "percent"),
        ({"price": "Infinity"}, "price"),
        ({"strategy": "a\x00b"}, "strategy"),
        ({"strategy": "x" * 101}, "strategy"),
        ({"strategy": "\ud800"}, "strategy"),
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"id": True}, "id"),
        ({"time": "yesterday"}, "time"),
        ({"time": 1e300}, "time"),
        ({"time": -1e30}, "time"),
        ({"time": True}, "time"),
        ({"time": {}}, "time"),
    ],
)
def test_what_makes_no_sense_is_named_without_repeating_it(
    body: dict[str, Any], field: str
) -> None:
    assert list(problems(body)) == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"BTC-USD buy now",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 10_000,
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(AlertMalformed):
        parse_alert(body)


@pytest.mark.parametrize("key", [None, 5, ["k"]])
def test_a_key_that_is_no_text_is_none(key: object) -> None:
    assert parse_alert(json.dumps({"api_key": key}).encode())[0] is None


@pytest.mark.parametrize(
    "value", [b"NaN", b"-Infinity", b"1e9999999999999999999", b"9" * 5000, b"1e-400"]
)
def test_numbers_beyond_any_amount_are_unusable_and_never_computed(value: bytes) -> None:
    for name in ("size_usd", "time"):
        body = b'{"symbol": "BTCUSD", "action": "close", "api_key": "k", "%s": %s}'
        _key, offer = parse_alert(body % (name.encode(), value))
        assert offer.wish is not None
        assert list(offer.wish.unusable) == [name]


@pytest.mark.parametrize(
    ("word", "side"),
    [("close", None), ("flat", None), ("close_long", Direction.LONG), ("exit_short", "short")],
)
def test_a_close_may_say_of_which_side(word: str, side: str | None) -> None:
    wish = read(action=word)
    assert (wish.side, wish.leaves) == (side, side)


def test_percent_may_carry_its_sign() -> None:
    assert read(action="close", percent="25 %").percent == Decimal(25)


def test_what_a_refused_alert_said_is_kept_without_keys_and_cut() -> None:
    key = "nwk_" + "A" * 43
    said = {"symbol": "BTC USD", "action": "hold\x00", "id": "x" * 500 + key, "api_key": key}
    _key, offer = parse_alert(json.dumps(said).encode())
    assert offer.wish is None
    assert offer.said == {"symbol": "BTC USD", "action": "hold", "id": "x" * 128}


def test_a_broken_body_with_one_key_is_its_owners() -> None:
    key = "nwk_" + "A" * 43
    body = b'{"action":"close","symbol":"BTCUSD","id":"L1","api_key":"' + key.encode() + b'",}'
    found, offer = parse_alert(body)
    assert (found, offer.is_malformed) == (key, True)
    assert offer.said == {"action": "close", "symbol": "BTCUSD", "id": "L1"}
    with pytest.raises(AlertMalformed):
        parse_alert(body + b"nwk_" + b"B" * 43)
