"""The catalogue of faults: each kind with its parameters, their bounds and their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, Literal

Value = str | int | float | bool | None
Parameters = Mapping[str, Value]


class BadFaultError(ValueError):
    """A fault that makes no sense; the message names the field and what it may be."""


class CallName(StrEnum):
    """What a client asks of the venue; several addresses may serve one."""

    PLACE = "place"
    CANCEL = "cancel"
    GET_ORDER = "get_order"
    LIST_ORDERS = "list_orders"
    LIST_FILLS = "list_fills"
    BALANCES = "balances"
    FEES = "fees"
    PERMISSIONS = "permissions"
    PORTFOLIOS = "portfolios"
    TIME = "time"
    CURRENCIES = "currencies"
    PRODUCTS = "products"
    """The list of all products."""
    PRODUCT = "product"
    QUOTES = "quotes"
    """Products asked for by name, or best bid and ask: the batch call for last prices."""
    TICKER = "ticker"
    CANDLES = "candles"
    BOOK = "book"


class Kind(StrEnum):
    """Every fault there is."""

    TIMEOUT = "timeout"
    RESET = "reset"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    CUT_OFF = "cut_off"
    EMPTY_BODY = "empty_body"
    SLOW = "slow"
    KEYS_REFUSED = "keys_refused"
    MAINTENANCE = "maintenance"

    ORDER_STUCK = "order_stuck"
    IOC_RESTS = "ioc_rests"
    PARTIAL_FILL = "partial_fill"
    CANCEL_LATE = "cancel_late"

    ORDER_LISTED_LATE = "order_listed_late"
    FILLS_LATE = "fills_late"
    FILLS_IN_PIECES = "fills_in_pieces"
    FILLS_TWICE = "fills_twice"
    FILLS_SHUFFLED = "fills_shuffled"
    COMMISSION_LATE = "commission_late"
    BALANCES_LATE = "balances_late"
    CANDLE_LATE = "candle_late"
    CANDLE_REVISED = "candle_revised"
    CANDLE_MISSING = "candle_missing"
    CANDLE_MALFORMED = "candle_malformed"
    PRODUCT_MALFORMED = "product_malformed"
    PRODUCT_DELISTED = "product_delisted"
    PRODUCT_MODE = "product_mode"
    PRODUCT_RULES = "product_rules"
    CLOCK = "clock"
    SIGNATURE_CLOCK = "signature_clock"


class Layer(StrEnum):
    """Where a fault acts.

    Attributes:
        TRANSPORT: What the client sees of one call.
        ORDER: Fixed when an order is accepted, for its whole life.
        CANCEL: Fixed when a cancellation is asked for.
        CANDLE: Which candles it meets is a function of the seed and their time: asked again, the
            same candles are met.
        STATE: How the venue is or shows itself at an instant.
    """

    TRANSPORT = "transport"
    ORDER = "order"
    CANCEL = "cancel"
    CANDLE = "candle"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kind; amounts are exact decimal text, durations seconds."""

    type: Literal["flag", "seconds", "whole", "share", "decimal", "text"]
    default: Value = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    may_be_null: bool = False

    def read(self, name: str, value: object) -> Value:
        """Return the value as it is kept.

        Raises:
            BadFaultError: It is of another type, or out of bounds.
        """
        if value is None and (self.may_be_null or self.default is None):
            return None
        if self.type == "flag":
            if not isinstance(value, bool):
                raise BadFaultError(f"{name} must be true or false")
            return value
        if self.type == "text":
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                known = f"one of {', '.join(self.choices)}" if self.choices else "text"
                raise BadFaultError(f"{name} must be {known}")
            return value
        number = self._number(name, value)
        if self.type == "whole":
            if number != int(number):
                raise BadFaultError(f"{name} must be a whole number")
            return int(number)
        return f"{number:f}" if self.type == "decimal" else float(number)

    def _number(self, name: str, value: object) -> Decimal:
        is_text = self.type in ("decimal", "share") and isinstance(value, str)
        if isinstance(value, bool) or not (is_text or isinstance(value, int | float)):
            raise BadFaultError(f"{name} must be a number")
        try:
            number = Decimal(str(value))
        except InvalidOperation as error:
            raise BadFaultError(f"{name} must be a number") from error
        if not number.is_finite():
            raise BadFaultError(f"{name} must be a finite number")
        if self.least is not None and number < Decimal(str(self.least)):
            raise BadFaultError(f"{name} must be at least {self.least:g}")
        if self.most is not None and number > Decimal(str(self.most)):
            raise BadFaultError(f"{name} must be at most {self.most:g}")
        return number


@dataclass(frozen=True, slots=True)
class Definition:
    """What a kind is.

    Attributes:
        calls: The calls it can act on; empty means all.
    """

    layer: Layer
    parameters: Mapping[str, Parameter]
    calls: frozenset[CallName] = frozenset()


_MOST_SECONDS: Final = 7 * 86_400
_MOST_AMOUNT: Final = 1e15


def _seconds(default: float | None, *, may_be_null: bool = False) -> Parameter:
    return Parameter("seconds", default, 0, _MOST_SECONDS, may_be_null=may_be_null)


def _flag(default: bool) -> Parameter:
    return Parameter("flag", default)


def _choice(default: str, *others: str) -> Parameter:
    return Parameter("text", default, choices=(default, *others))


def _share(default: float) -> Parameter:
    return Parameter("share", default, 0, 1)


_STEP: Final = Parameter("decimal", None, 1e-18, _MOST_AMOUNT)
_OPEN_ENDED: Final = _seconds(None)
_ORDERS: Final = frozenset({CallName.PLACE})
_CANDLES: Final = frozenset({CallName.CANDLES})
_SIGNED: Final = frozenset(CallName) - {
    CallName.TIME,
    CallName.CURRENCIES,
}

DEFINITIONS: Final[Mapping[Kind, Definition]] = {
    Kind.TIMEOUT: Definition(
        Layer.TRANSPORT,
        {"applied": _flag(default=True), "seconds": _seconds(60), "late_seconds": _seconds(0)},
    ),
    Kind.RESET: Definition(Layer.TRANSPORT, {"applied": _flag(default=False)}),
    Kind.SERVER_ERROR: Definition(
        Layer.TRANSPORT,
        {
            "status": Parameter("whole", 500, 500, 599),
            "applied": _flag(default=False),
            "body": _choice("json", "html", "empty"),
        },
    ),
    Kind.RATE_LIMITED: Definition(Layer.TRANSPORT, {"retry_after": _seconds(None)}),
    Kind.CUT_OFF: Definition(Layer.TRANSPORT, {"share": _share(0.5)}),
    Kind.EMPTY_BODY: Definition(Layer.TRANSPORT, {"applied": _flag(default=True)}),
    Kind.SLOW: Definition(Layer.TRANSPORT, {"seconds": _seconds(5)}),
    Kind.KEYS_REFUSED: Definition(Layer.TRANSPORT, {}, _SIGNED),
    Kind.MAINTENANCE: Definition(Layer.TRANSPORT, {}),
    Kind.ORDER_STUCK: Definition(
        Layer.ORDER,
        {
            "status": _choice("PENDING", "QUEUED", "UNKNOWN_ORDER_STATUS"),
            "seconds": _seconds(5, may_be_null=True),
            "executed": _flag(default=False),
        },
        _ORDERS,
    ),
    Kind.IOC_RESTS: Definition(
        Layer.ORDER,
        {"seconds": _seconds(60, may_be_null=True), "share": _share(0)},
        _ORDERS,
    ),
    Kind.PARTIAL_FILL: Definition(Layer.ORDER, {"share": _share(0.5)}, _ORDERS),
    Kind.CANCEL_LATE: Definition(
        Layer.CANCEL, {"seconds": _seconds(5)}, frozenset({CallName.CANCEL})
    ),
    Kind.ORDER_LISTED_LATE: Definition(
        Layer.ORDER, {"seconds": _seconds(5), "by_id": _flag(default=False)}, _ORDERS
    ),
    Kind.FILLS_LATE: Definition(Layer.ORDER, {"seconds": _seconds(5)}, _ORDERS),
    Kind.FILLS_IN_PIECES: Definition(
        Layer.ORDER,
        {"pieces": Parameter("whole", 3, 2, 100), "seconds": _seconds(2)},
        _ORDERS,
    ),
    Kind.FILLS_TWICE: Definition(Layer.ORDER, {}, _ORDERS),
    Kind.FILLS_SHUFFLED: Definition(Layer.ORDER, {}, _ORDERS),
    Kind.COMMISSION_LATE: Definition(
        Layer.ORDER,
        {"seconds": _seconds(5), "first": Parameter("decimal", "0", -_MOST_AMOUNT, 0)},
        _ORDERS,
    ),
    Kind.BALANCES_LATE: Definition(
        Layer.STATE, {"seconds": _seconds(5)}, frozenset({CallName.BALANCES})
    ),
    Kind.CANDLE_LATE: Definition(Layer.CANDLE, {"seconds": _seconds(60)}, _CANDLES),
    Kind.CANDLE_REVISED: Definition(
        Layer.CANDLE,
        {"seconds": _seconds(60), "percent": Parameter("decimal", "1", -50, 50)},
        _CANDLES,
    ),
    Kind.CANDLE_MISSING: Definition(Layer.CANDLE, {"seconds": _OPEN_ENDED}, _CANDLES),
    Kind.CANDLE_MALFORMED: Definition(
        Layer.CANDLE,
        {
            "form": _choice(
                "low_zero", "high_below_low", "empty_cell", "not_a_number", "null_cell"
            ),
            "seconds": _OPEN_ENDED,
        },
        _CANDLES,
    ),
    Kind.PRODUCT_MALFORMED: Definition(
        Layer.STATE,
        {
            "field": _choice(
                "base_increment",
                "base_currency_id",
                "base_max_size",
                "base_min_size",
                "price",
                "price_increment",
                "product_id",
                "product_type",
                "quote_currency_id",
                "quote_increment",
                "quote_max_size",
                "quote_min_size",
                "status",
            ),
            "form": _choice("empty", "missing", "null", "zero", "negative", "not_a_number"),
        },
    ),
    Kind.PRODUCT_DELISTED: Definition(Layer.STATE, {"form": _choice("absent", "flagged")}),
    Kind.PRODUCT_MODE: Definition(
        Layer.STATE,
        {
            "mode": _choice(
                "limit_only", "auction_mode", "cancel_only", "post_only", "trading_disabled"
            )
        },
    ),
    Kind.PRODUCT_RULES: Definition(
        Layer.STATE,
        {
            "base_increment": _STEP,
            "quote_increment": _STEP,
            "price_increment": _STEP,
            "base_min_size": _STEP,
            "base_max_size": _STEP,
            "quote_min_size": _STEP,
            "quote_max_size": _STEP,
        },
    ),
    Kind.CLOCK: Definition(
        Layer.STATE,
        {
            "offset_seconds": Parameter("seconds", 0, -_MOST_SECONDS, _MOST_SECONDS),
            "jump_seconds": _seconds(0),
            "stamps": _flag(default=True),
        },
    ),
    Kind.SIGNATURE_CLOCK: Definition(
        Layer.STATE,
        {"offset_seconds": Parameter("seconds", 0, -_MOST_SECONDS, _MOST_SECONDS)},
        _SIGNED,
    ),
}
