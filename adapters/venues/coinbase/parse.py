"""Reading Coinbase's JSON, strictly: a missing or malformed field is an error, never zero.

Amounts arrive as strings. Nothing here knows where the JSON came from, so recorded answers test
all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

from adapters.venues.errors import VenueAnswerMalformedError
from adapters.venues.market_rules import ListedMarkets
from domain.markets import (
    MINUTE,
    BookLevel,
    Candle,
    FeeRates,
    MarketRules,
    MarketStatus,
    OrderBook,
    Quote,
)
from domain.money import ZERO
from domain.orders import (
    CurrencyBalance,
    FillReport,
    Liquidity,
    OrderReport,
    OrderState,
    Side,
)
from domain.ports import KeyPermissions

Json = Mapping[str, Any]

_ORDER_STATES: Mapping[str, OrderState] = {
    "PENDING": OrderState.OPEN,
    "QUEUED": OrderState.OPEN,
    "OPEN": OrderState.OPEN,
    "CANCEL_QUEUED": OrderState.OPEN,
    "EDIT_QUEUED": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELLED": OrderState.CANCELLED,
    "EXPIRED": OrderState.CANCELLED,
    "FAILED": OrderState.REFUSED,
    "UNKNOWN_ORDER_STATUS": OrderState.UNKNOWN,
}
_SIDES: Mapping[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL}
# Only a maker's fee and role differ; an execution whose role the venue does not tell paid the
# taker's fee.
_LIQUIDITY: Mapping[str, Liquidity] = {
    "MAKER": Liquidity.MAKER,
    "TAKER": Liquidity.TAKER,
    "UNKNOWN_LIQUIDITY_INDICATOR": Liquidity.TAKER,
}
# The first flag that is set tells; the stricter come first.
_STATUSES = (
    ("is_disabled", MarketStatus.HALTED),
    ("trading_disabled", MarketStatus.HALTED),
    ("view_only", MarketStatus.HALTED),
    ("cancel_only", MarketStatus.CANCEL_ONLY),
    ("auction_mode", MarketStatus.AUCTION),
    ("post_only", MarketStatus.POST_ONLY),
    ("limit_only", MarketStatus.LIMIT_ONLY),
)
_PRODUCT_PARTS = 2
# No amount of a market needs more; a number of a million digits is an attack or a mistake.
_DIGITS_MAX = 40
_CHARACTERS_MAX = 100
_NAME_MAX = 200
_START_MAX = 2**33  # seconds since 1970: the year 2242
_YEARS = range(1970, 2243)


def parse_rules(product: Json) -> MarketRules:
    """One spot product of the product list."""
    status = next((status for name, status in _STATUSES if flag(product, name)), MarketStatus.OPEN)
    return MarketRules(
        symbol=text(product, "product_id"),
        base=text(product, "base_currency_id"),
        quote=text(product, "quote_currency_id"),
        quantity_step=_step(product, "base_increment"),
        price_step=_step(product, "price_increment"),
        quantity_min=amount(product, "base_min_size"),
        notional_min=amount(product, "quote_min_size"),
        active=status is MarketStatus.OPEN,
        quantity_max=_optional_amount(product, "base_max_size"),
        notional_max=_optional_amount(product, "quote_max_size"),
        status=status,
    )


def parse_markets(answer: Json) -> ListedMarkets:
    """The spot markets of the product list; a row that cannot be read costs its own market only.

    Raises:
        VenueAnswerMalformedError: there is no list, or nothing in it.
    """
    rows = answer.get("products")
    if not isinstance(rows, list) or not rows:
        raise _malformed("products")
    rules: dict[str, MarketRules] = {}
    malformed: dict[str, str] = {}
    for number, row in enumerate(rows):
        try:
            if not isinstance(row, dict):
                raise _malformed("product_id")
            if is_spot(row):
                one = parse_rules(row)
                rules[one.symbol] = one
        except VenueAnswerMalformedError as failure:
            name = row.get("product_id") if isinstance(row, dict) else None
            malformed[name if is_name(name) else f"#{number}"] = str(failure)
    return ListedMarkets(rules, malformed)


def parse_candles(answer: Json, length: timedelta) -> tuple[list[Candle], list[str]]:
    """The candles of an answer, and why others of it were left out.

    A malformed candle (a price of zero, a high below its low, an empty cell, a time between two
    candles) is dropped by itself: it is as if the venue had not listed it yet.

    Raises:
        VenueAnswerMalformedError: there is no list.
    """
    rows = answer.get("candles")
    if not isinstance(rows, list):
        raise _malformed("candles")
    candles: list[Candle] = []
    dropped: list[str] = []
    for row in rows:
        try:
            candles.append(parse_candle(row, length))
        except VenueAnswerMalformedError as failure:
            dropped.append(str(failure))
    return candles, dropped


def parse_candle(candle: object, length: timedelta = MINUTE) -> Candle:
    """One candle; they come newest first, in no promised order.

    Raises:
        VenueAnswerMalformedError: a field is missing, or the values contradict each other.
    """
    if not isinstance(candle, dict):
        raise _malformed("candles")
    start = amount(candle, "start")
    seconds = int(length.total_seconds())
    if not ZERO < start < _START_MAX or start % seconds:
        raise _malformed("start")
    read = Candle(
        opened_at=datetime.fromtimestamp(int(start), UTC),
        open=_price(candle, "open"),
        high=_price(candle, "high"),
        low=_price(candle, "low"),
        close=_price(candle, "close"),
        volume=amount(candle, "volume"),
    )
    if read.volume < ZERO:
        raise _malformed("volume")
    if read.low > min(read.open, read.close) or read.high < max(read.open, read.close):
        raise _malformed("high")
    return read


def parse_time(answer: Json) -> datetime:
    """The venue's clock."""
    milliseconds = amount(answer, "epochMillis")
    if not ZERO < milliseconds < _START_MAX * 1000:
        raise _malformed("epochMillis")
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def parse_quote(ticker: Json, symbol: str, at: datetime | None) -> Quote:
    """Best prices and the last trade's; a side of the book that is empty is told as the last.

    `at` is a venue time before the question: the prices are at least as new. Where none is known it
    is the time of the trade.
    """
    trade = _latest_trade(ticker, symbol)
    last = _price(trade, "price")
    return Quote(
        symbol=symbol,
        bid=_price_or(ticker, "best_bid", last),
        ask=_price_or(ticker, "best_ask", last),
        last=last,
        at=moment(trade, "time") if at is None else at,
    )


def parse_traded_at(ticker: Json, symbol: str) -> datetime:
    """When a market last traded: a time that the venue's clock has passed."""
    return moment(_latest_trade(ticker, symbol), "time")


def _latest_trade(ticker: Json, symbol: str) -> Json:
    trades = items(ticker, "trades")
    if not trades:
        raise VenueAnswerMalformedError(f"Coinbase lists no trade of {symbol}")
    return trades[0]


def parse_last_prices(answer: Json) -> dict[str, Decimal]:
    """The last trade's price of each product of a product list that has a usable one.

    Raises:
        VenueAnswerMalformedError: there is no list.
    """
    rows = answer.get("products")
    if not isinstance(rows, list):
        raise _malformed("products")
    prices: dict[str, Decimal] = {}
    for row in rows:
        try:
            if isinstance(row, dict):
                prices[text(row, "product_id")] = _price(row, "price")
        except VenueAnswerMalformedError:
            continue  # a market without a price is one that this answer says nothing about
    return prices


def parse_order_book(answer: Json, symbol: str) -> OrderBook:
    """Bids from the highest, asks from the lowest; one side may be empty, not both.

    Its time is left out where it is of no use: the levels need none.
    """
    book = part(answer, "pricebook")
    bids = tuple(_level(level) for level in items(book, "bids"))
    asks = tuple(_level(level) for level in items(book, "asks"))
    if not bids and not asks:
        raise VenueAnswerMalformedError(f"Coinbase shows an empty order book of {symbol}")
    return OrderBook(
        symbol=symbol,
        bids=tuple(sorted(bids, key=lambda level: level.price, reverse=True)),
        asks=tuple(sorted(asks, key=lambda level: level.price)),
        at=_moment_or_none(book, "time"),
    )


def parse_fees(summary: Json) -> FeeRates:
    """The account's own fee tier."""
    tier = part(summary, "fee_tier")
    return FeeRates(
        maker_rate=amount(tier, "maker_fee_rate"), taker_rate=amount(tier, "taker_fee_rate")
    )


def parse_balance(account: Json) -> CurrencyBalance:
    """One wallet: what is available, and what open orders hold."""
    held = amount(part(account, "hold"), "value")
    available = amount(part(account, "available_balance"), "value")
    return CurrencyBalance(currency=text(account, "currency"), total=available + held, held=held)


def parse_permissions(answer: Json) -> KeyPermissions:
    """What the keys may do; Coinbase calls moving money out of the portfolio `can_transfer`."""
    return KeyPermissions(
        can_read=flag(answer, "can_view"),
        can_trade=flag(answer, "can_trade"),
        can_withdraw=flag(answer, "can_transfer"),
    )


def parse_order(order: Json) -> OrderReport:
    """One order of the order history.

    A status that has no meaning here says as little as the venue's own word for unknown; what was
    filled is told beside it.
    """
    filled = amount(order, "filled_size")
    state = _ORDER_STATES.get(text(order, "status"), OrderState.UNKNOWN)
    if state is OrderState.REFUSED and filled:
        state = OrderState.CANCELLED  # It failed after a part had traded: that part is real.
    return OrderReport(
        venue_order_id=text(order, "order_id"),
        client_order_id=known if is_name(known := order.get("client_order_id")) else None,
        symbol=text(order, "product_id"),
        side=_choice(order, "side", _SIDES),
        state=state,
        quantity=_ordered_quantity(order),
        filled_quantity=filled,
        created_at=moment(order, "created_time"),
    )


def parse_fill(fill: Json) -> FillReport:
    """One execution of a spot order."""
    if text(fill, "trade_type") != "FILL":
        # A reversal or correction changes money in a way that nobody here may guess.
        raise VenueAnswerMalformedError("Coinbase lists an execution that is not a plain fill")
    price, size = _price(fill, "price"), _price(fill, "size")
    symbol = text(fill, "product_id")
    return FillReport(
        venue_fill_id=text(fill, "entry_id"),
        venue_order_id=text(fill, "order_id"),
        symbol=symbol,
        side=_choice(fill, "side", _SIDES),
        price=price,
        quantity=size / price if flag(fill, "size_in_quote") else size,
        fee=amount(fill, "commission"),
        fee_currency=symbol.split("-")[1],
        liquidity=_choice(fill, "liquidity_indicator", _LIQUIDITY),
        filled_at=moment(fill, "trade_time"),
    )


def is_spot(item: Json) -> bool:
    """Whether an order or fill is of a spot product (`BTC-USD`); derivatives have longer names."""
    return len(text(item, "product_id").split("-")) == _PRODUCT_PARTS


def text(source: Json, name: str) -> str:
    """A field that is a name or a word."""
    value = source.get(name)
    if not is_name(value):
        raise _malformed(name)
    return value


def is_name(value: object) -> TypeGuard[str]:
    """Whether it can name something: in one line, and of a length and characters to be stored."""
    return isinstance(value, str) and 0 < len(value) <= _NAME_MAX and value.isprintable()


def amount(source: Json, name: str) -> Decimal:
    """A field that is a finite decimal."""
    value = source.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _malformed(name)
    if isinstance(value, str) and len(value) > _CHARACTERS_MAX:
        raise _malformed(name)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise _malformed(name) from None
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS_MAX:
        raise _malformed(name)
    return number


def _optional_amount(source: Json, name: str) -> Decimal | None:
    """A limit that a venue may leave out, or leave empty."""
    value = source.get(name)
    return None if value is None or value == "" else _price(source, name)


def flag(source: Json, name: str) -> bool:
    """A field that is a boolean."""
    value = source.get(name)
    if not isinstance(value, bool):
        raise _malformed(name)
    return value


def moment(source: Json, name: str) -> datetime:
    """A field that is a time with its zone."""
    try:
        at = datetime.fromisoformat(text(source, name))
    except ValueError:
        raise _malformed(name) from None
    # Near the ends of the calendar no other zone, and no day more, has a date.
    if at.tzinfo is None or at.year not in _YEARS:
        raise _malformed(name)
    return at.astimezone(UTC)


def _moment_or_none(source: Json, name: str) -> datetime | None:
    try:
        return moment(source, name)
    except VenueAnswerMalformedError:
        return None


def items(source: Json, name: str) -> list[Json]:
    """A field that is a list of objects."""
    value = source.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _malformed(name)
    return value


def part(source: Json, name: str) -> Json:
    """A field that is an object."""
    value = source.get(name)
    if not isinstance(value, dict):
        raise _malformed(name)
    return value


def _ordered_quantity(order: Json) -> Decimal | None:
    configurations = [
        configuration
        for configuration in part(order, "order_configuration").values()
        if isinstance(configuration, dict)
    ]
    if len(configurations) != 1:
        raise _malformed("order_configuration")
    # An order sized in quote currency (not ours) has no base quantity.
    return amount(configurations[0], "base_size") if configurations[0].get("base_size") else None


def _level(level: Json) -> BookLevel:
    return BookLevel(price=_price(level, "price"), quantity=_price(level, "size"))


def _price_or(source: Json, name: str, default: Decimal) -> Decimal:
    try:
        return _price(source, name)
    except VenueAnswerMalformedError:
        return default


def _price(source: Json, name: str) -> Decimal:
    value = amount(source, name)
    if value <= ZERO:
        raise _malformed(name)
    return value


def _step(source: Json, name: str) -> Decimal:
    return _price(source, name)


def _choice(source: Json, name: str, choices: Mapping[str, Any]) -> Any:
    value = text(source, name)
    if value not in choices:
        raise _malformed(name)
    return choices[value]


def _malformed(name: str) -> VenueAnswerMalformedError:
    return VenueAnswerMalformedError(f"Coinbase's answer has no usable field {name!r}")
