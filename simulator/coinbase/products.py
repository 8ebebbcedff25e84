"""Market data: products, books, trades, candles and the venue's time."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from simulator.coinbase.calls import Call, SignedCall, public, signed
from simulator.coinbase.errors import invalid_argument, not_found
from simulator.coinbase.wire import iso
from simulator.engine.book import Book
from simulator.engine.values import Side
from simulator.exact import EXACT, plain
from simulator.faults.kinds import CallName
from simulator.faults.state import ProductState
from simulator.market.candles import MINUTE_MS

_GRANULARITIES: Final = {
    "ONE_MINUTE": 1,
    "FIVE_MINUTE": 5,
    "FIFTEEN_MINUTE": 15,
    "THIRTY_MINUTE": 30,
    "ONE_HOUR": 60,
    "TWO_HOUR": 120,
    "FOUR_HOUR": 240,
    "SIX_HOUR": 360,
    "ONE_DAY": 1440,
}
_MOST_CANDLES: Final = 350
_MOST_LEVELS: Final = 500
_MOST_PRODUCTS: Final = 10_000


def server_time(call: Call) -> dict[str, Any]:
    """Answer with the venue clock, in the form of the newer API."""
    now_ms = call.view.now_ms()
    return {
        "iso": iso(now_ms),
        "epochSeconds": str(now_ms // 1000),
        "epochMillis": str(now_ms),
    }


def list_products(call: Call) -> dict[str, Any]:
    """Answer with spot products, each with its last price; there are no futures.

    All of them, or those named by repeated `product_ids`; a page of them by `limit` and `offset`.
    """
    wanted = call.all("product_ids", "product_id")
    limit = call.integer("limit", _MOST_PRODUCTS, least=1, most=_MOST_PRODUCTS)
    offset = call.integer("offset", 0, least=0, most=2**31)
    is_spot = call.one("product_type") in (None, "SPOT", "UNKNOWN_PRODUCT_TYPE")
    states = call.view.product_ids(call.name)
    shown = [name for name in states if not wanted or name in wanted] if is_spot else []
    page = shown[offset : offset + limit]
    books = call.exchange.engine.books
    return {
        "products": [_product(call, books[name], states[name]) for name in page],
        "num_products": len(page),
    }


def get_product(call: Call) -> dict[str, Any]:
    """Answer with one product."""
    book = _book(call, call.request.path_params["product_id"])
    state = call.view.product_state(book.rules.product_id, call.name)
    return _product(call, book, state)


def get_trades(call: Call) -> dict[str, Any]:
    """Answer with the latest trades, newest first, and the best prices."""
    book = _book(call, call.request.path_params["product_id"])
    limit = call.integer("limit", 100, least=1, most=1000)
    product_id = book.rules.product_id
    recent = call.exchange.feed.recent_ticks(product_id, call.exchange.now_ms, limit + 1)
    if not recent:
        # A market that has been silent for hours still has a last trade.
        recent = [(0, call.exchange.feed.last_tick(product_id, call.exchange.now_ms))]
    older = [tick.price for _, tick in recent[1:]] + [recent[-1][1].price]
    trades = [
        {
            "trade_id": str(number),
            "product_id": product_id,
            "price": plain(tick.price),
            "size": plain(tick.volume),
            "time": iso(tick.time_ms),
            "side": "BUY" if tick.price >= before else "SELL",
            "bid": "",
            "ask": "",
            "exchange": "",
        }
        for (number, tick), before in zip(recent[:limit], older, strict=False)
    ]
    return {
        "trades": trades,
        "best_bid": _price(book.best_price(Side.BUY)),
        "best_ask": _price(book.best_price(Side.SELL)),
    }


def get_candles(call: Call) -> dict[str, Any]:
    """Answer with candles, newest first; the one being formed shows what has happened so far."""
    book = _book(call, call.request.path_params["product_id"])
    width = _GRANULARITIES.get(call.one("granularity") or "")
    if width is None:
        raise invalid_argument("granularity is not supported")
    latest = 2**33  # seconds; the year 2242
    start = call.integer("start", -1, least=0, most=latest)
    end = call.integer("end", -1, least=0, most=latest)
    if start < 0 or end < start:
        raise invalid_argument("start and end are required, in order")
    if (end - start) * 1000 // (width * MINUTE_MS) > _MOST_CANDLES:
        raise invalid_argument(f"number of candles requested should be less than {_MOST_CANDLES}")
    limit = call.integer("limit", _MOST_CANDLES, least=1, most=_MOST_CANDLES)
    product_id = book.rules.product_id
    candles = call.view.candles(product_id, width, start * 1000, end * 1000)
    return {
        "candles": [
            {
                "start": str(candle.open_ms // 1000),
                "low": plain(candle.low),
                "high": plain(candle.high),
                "open": plain(candle.open),
                "close": plain(candle.close),
                "volume": plain(candle.volume),
                **candle.malformed,
            }
            for candle in reversed(candles[-limit:])
        ]
    }


def get_book(call: Call) -> dict[str, Any]:
    """Answer with a product's order book."""
    book = _book(call, call.one("product_id") or "")
    limit = call.integer("limit", _MOST_LEVELS, least=1, most=_MOST_LEVELS)
    return {"pricebook": _pricebook(call, book, limit)}


def get_best_prices(call: SignedCall) -> dict[str, Any]:
    """Answer with the best bid and ask of some or all products."""
    states = call.view.product_ids(call.name)
    books = [
        book for book in call.books(call.all("product_ids")) if book.rules.product_id in states
    ]
    return {"pricebooks": [_pricebook(call, book, 1) for book in books]}


def _book(call: Call, product_id: str) -> Book:
    book = call.exchange.book(product_id)
    if book is None or call.view.product_state(product_id, call.name).is_absent:
        raise not_found("valid product_id is required")
    return book


def _pricebook(call: Call, book: Book, limit: int) -> dict[str, Any]:
    return {
        "product_id": book.rules.product_id,
        "bids": _levels(book.depth(Side.BUY, limit)),
        "asks": _levels(book.depth(Side.SELL, limit)),
        "time": iso(call.exchange.now_ms),
    }


def _levels(levels: Iterable[tuple[Decimal, Decimal]]) -> list[dict[str, str]]:
    return [{"price": plain(price), "size": plain(size)} for price, size in levels]


def _price(price: Decimal | None) -> str:
    return "" if price is None else plain(price)


def _products_or_quotes(request: Request) -> CallName:
    names = ("product_ids", "product_id")
    is_named = any(request.query_params.get(name) for name in names)
    return CallName.QUOTES if is_named else CallName.PRODUCTS


def _product(call: Call, book: Book, state: ProductState) -> dict[str, Any]:
    rules = state.rules(book.rules)
    day = call.exchange.feed.day_figures(rules.product_id, call.exchange.now_ms)
    change = EXACT.quantize(EXACT.divide((book.price - day.open) * 100, day.open), Decimal("1e-8"))
    row = {
        "product_id": rules.product_id,
        "price": plain(book.price),
        "price_percentage_change_24h": plain(change),
        "volume_24h": plain(day.volume),
        "volume_percentage_change_24h": "0",
        "base_increment": plain(rules.base_increment),
        "quote_increment": plain(rules.quote_increment),
        "quote_min_size": plain(rules.quote_min_size),
        "quote_max_size": plain(rules.quote_max_size),
        "base_min_size": plain(rules.base_min_size),
        "base_max_size": plain(rules.base_max_size),
        "base_name": rules.base_name,
        "quote_name": rules.quote,
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": rules.quote,
        "base_currency_id": rules.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": "",
        "alias_to": [],
        "base_display_symbol": rules.base,
        "quote_display_symbol": rules.quote,
        "view_only": False,
        "price_increment": plain(rules.price_increment),
        "display_name": rules.product_id,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": plain(
            EXACT.quantize(EXACT.multiply(day.volume, book.price), Decimal("0.01"))
        ),
    }
    return state.row(row)


_V3: Final = "/api/v3/brokerage"
ROUTES: Final = [
    Route(f"{_V3}/time", public(CallName.TIME, server_time)),
    Route(f"{_V3}/market/products", public(_products_or_quotes, list_products)),
    Route(f"{_V3}/market/products/{{product_id}}", public(CallName.PRODUCT, get_product)),
    Route(f"{_V3}/market/products/{{product_id}}/ticker", public(CallName.TICKER, get_trades)),
    Route(f"{_V3}/market/products/{{product_id}}/candles", public(CallName.CANDLES, get_candles)),
    Route(f"{_V3}/market/product_book", public(CallName.BOOK, get_book)),
    Route(f"{_V3}/products", signed("view", _products_or_quotes, list_products)),
    Route(f"{_V3}/products/{{product_id}}", signed("view", CallName.PRODUCT, get_product)),
    Route(f"{_V3}/products/{{product_id}}/ticker", signed("view", CallName.TICKER, get_trades)),
    Route(f"{_V3}/products/{{product_id}}/candles", signed("view", CallName.CANDLES, get_candles)),
    Route(f"{_V3}/product_book", signed("view", CallName.BOOK, get_book)),
    Route(f"{_V3}/best_bid_ask", signed("view", CallName.QUOTES, get_best_prices)),
]
