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
from services.alerts.errors import AlertMalformed


def read(**fields: Any) -> AlertWish:
    body = {"symbol": "BTC-USD", "action": "buy", "api_key": "k", **fields}
    _key, offered = parse_alert(json.dumps(body).encode())
    assert isinstance(offered, AlertWish), offered
    return offered


def problems(body: dict[str, Any]) -> dict[str, str]:
    _key, offered = parse_alert(
        json.dumps({"symbol": "BTC-USD", "action": "buy", "api_key": "k"} | body).encode()
    )
    assert not isinstance(offered, AlertWish)
    return dict(offered)


def test_the_contracts_own_sample_is_read() -> None:
    key, wish = parse_alert(
        b'{"symbol": "BTC-USD", "action": "buy", "price": 43210.50, "strategy": "APEX_V72",'
        b' "api_key": "your_webhook_key"}'
    )

    assert key == "your_webhook_key"
    assert wish == AlertWish(
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
        b'{"symbol": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"size_usd": 1e9999999999999999999}',
        b'{"quantity": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(AlertMalformed):
        parse_alert(body)


@pytest.mark.parametrize("key", [None, 5, ["k"]])
def test_a_key_that_is_no_text_is_none(key: object) -> None:
    assert parse_alert(json.dumps({"api_key": key}).encode())[0] is None
