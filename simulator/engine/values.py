"""The engine's vocabulary: orders, fills, and why an order is refused."""

from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from typing import Final

ZERO: Final = Decimal(0)
_AVERAGE: Final = Context(prec=18)


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        """The side this one trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Whether an order names a price."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """What becomes of the part that cannot be filled at once."""

    GTC = "GOOD_UNTIL_CANCELLED"
    IOC = "IMMEDIATE_OR_CANCEL"
    FOK = "FILL_OR_KILL"


class OrderStatus(StrEnum):
    """Where an accepted order stands; the last three are of an order that is not matched yet."""

    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    QUEUED = "QUEUED"
    UNKNOWN = "UNKNOWN_ORDER_STATUS"

    @property
    def is_done(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self in (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.FAILED)


class Liquidity(StrEnum):
    """Which fee a fill pays."""

    MAKER = "MAKER"
    TAKER = "TAKER"


class Refusal(StrEnum):
    """Why an order was not accepted."""

    UNKNOWN_PRODUCT = "unknown_product"
    SIZE_PRECISION = "size_precision"
    QUOTE_SIZE_PRECISION = "quote_size_precision"
    PRICE_PRECISION = "price_precision"
    BASE_SIZE_TOO_SMALL = "base_size_too_small"
    BASE_SIZE_TOO_LARGE = "base_size_too_large"
    QUOTE_SIZE_TOO_SMALL = "quote_size_too_small"
    QUOTE_SIZE_TOO_LARGE = "quote_size_too_large"
    WOULD_CROSS = "would_cross"
    NO_LIQUIDITY = "no_liquidity"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNSUPPORTED = "unsupported"
    LIMIT_ONLY = "limit_only"
    POST_ONLY = "post_only"
    TRADING_DISABLED = "trading_disabled"


class OrderRefusedError(Exception):
    """The order was not accepted; nothing has changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asks for.

    A limit order has `base_size` and `limit_price`; a market order has either `base_size` or
    `quote_size` (the most to spend, fees included; buying only).
    """

    client_order_id: str
    product_id: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    base_size: Decimal | None = None
    quote_size: Decimal | None = None
    limit_price: Decimal | None = None
    post_only: bool = False


@dataclass(slots=True)
class Order:
    """An accepted order and what has become of it.

    Attributes:
        sequence: Position in the venue's order of events: time priority, and the paging key.
        created_ms: Venue time.
        hold: Funds still reserved: quote currency for a buy, base for a sell.
        filled_value: Sum of price times size, without fees, in quote currency.
        fees: Sum of fees, in quote currency.
        received_at: Wall-clock arrival; opaque to the engine.
        configuration: The order configuration as sent; opaque to the engine.
    """

    order_id: str
    account_id: str
    request: OrderRequest
    sequence: int
    created_ms: int
    received_at: str = ""
    configuration: str = ""
    status: OrderStatus = OrderStatus.OPEN
    hold: Decimal = ZERO
    filled_size: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fill_count: int = 0
    last_fill_ms: int | None = None
    cancel_reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Base size still to be filled; zero for an order sized in quote currency."""
        size = self.request.base_size
        return size - self.filled_size if size is not None else ZERO

    @property
    def budget(self) -> Decimal | None:
        """Quote currency still to be spent, fees included; None when sized in base currency."""
        amount = self.request.quote_size
        return None if amount is None else amount - self.filled_value - self.fees

    @property
    def average_price(self) -> Decimal:
        """Average price of the fills to 18 significant digits, zero before the first."""
        return _AVERAGE.divide(self.filled_value, self.filled_size) if self.filled_size else ZERO


@dataclass(frozen=True, slots=True)
class Handling:
    """How an order is treated once it is accepted; the default is that of a venue without faults.

    Attributes:
        share: How much of what could trade at once does trade, from 0 to 1. A fill-or-kill order
            trades all or nothing in any case.
        pieces: Into how many fills each trade is cut.
        rests: Whether the rest stays open although the order asks for immediate execution.
    """

    share: Decimal = Decimal(1)
    pieces: int = 1
    rests: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of one order.

    Attributes:
        sequence: Position in the venue's order of events.
        fee: In quote currency.
        quote_ms: Time of the market tick the book stood at, which ages the ladder's liquidity.
        from_ladder: Whether the other side was the synthetic liquidity.
    """

    trade_id: str
    order_id: str
    account_id: str
    product_id: str
    side: Side
    price: Decimal
    size: Decimal
    fee: Decimal
    liquidity: Liquidity
    sequence: int
    time_ms: int
    quote_ms: int
    from_ladder: bool
