"""Numbers, times, orders and fills as they look on the wire."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final

from simulator.coinbase.errors import invalid_argument
from simulator.engine.values import (
    Fill,
    Order,
    OrderRefusedError,
    OrderRequest,
    OrderStatus,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)
from simulator.exact import decimals_of, plain

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_AMOUNT: Final = 10**18  # with the digits, keeps every later calculation exact
_MOST_DIGITS: Final = 36
# configuration: (order type, time in force)
_CONFIGURATIONS: Final = {
    "market_market_ioc": (OrderType.MARKET, TimeInForce.IOC),
    "sor_limit_ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "limit_limit_gtc": (OrderType.LIMIT, TimeInForce.GTC),
    "limit_limit_fok": (OrderType.LIMIT, TimeInForce.FOK),
}


def iso(time_ms: int) -> str:
    """Return a venue time as Coinbase writes it."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


def milliseconds(text: str) -> int:
    """Return the venue time an ISO 8601 text names.

    Raises:
        ApiError: It names none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_argument(f"not a time: {text}") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def parse_order(body: Mapping[str, Any]) -> OrderRequest:
    """Return the order a create-order body asks for.

    Raises:
        ApiError: The body is malformed.
        OrderRefusedError: The configuration is not one the venue knows.
    """
    client_order_id = body.get("client_order_id")
    if not isinstance(client_order_id, str) or not client_order_id:
        raise invalid_argument("client_order_id is required")
    side = body.get("side")
    if side not in list(Side):
        raise invalid_argument("side must be BUY or SELL")
    configuration = body.get("order_configuration")
    if not isinstance(configuration, dict) or len(configuration) != 1:
        raise invalid_argument("order_configuration must hold one configuration")
    kind, fields = next(iter(configuration.items()))
    if kind not in _CONFIGURATIONS:
        raise OrderRefusedError(Refusal.UNSUPPORTED)
    if not isinstance(fields, dict):
        raise invalid_argument(f"{kind} must be an object")
    order_type, time_in_force = _CONFIGURATIONS[kind]
    request = OrderRequest(
        client_order_id=client_order_id,
        product_id=str(body.get("product_id", "")),
        side=Side(side),
        type=order_type,
        time_in_force=time_in_force,
        base_size=_amount(fields, "base_size"),
        quote_size=_amount(fields, "quote_size"),
        limit_price=_amount(fields, "limit_price"),
        post_only=fields.get("post_only") is True,
    )
    _check_amounts(request)
    return request


def order_json(order: Order, *, is_cancelling: bool = False) -> dict[str, Any]:
    """Return an order as the order endpoints show it."""
    request = order.request
    sign = 1 if request.side is Side.BUY else -1
    return {
        "order_id": order.order_id,
        "product_id": request.product_id,
        "user_id": order.account_id,
        "order_configuration": json.loads(order.configuration),
        "side": request.side,
        "client_order_id": request.client_order_id,
        "status": order.status,
        "time_in_force": request.time_in_force,
        "created_time": iso(order.created_ms),
        "completion_percentage": plain(_completion(order)),
        "filled_size": plain(order.filled_size),
        "average_filled_price": plain(order.average_price),
        "fee": "",
        "number_of_fills": str(order.fill_count),
        "filled_value": plain(order.filled_value),
        "pending_cancel": is_cancelling,
        "size_in_quote": request.quote_size is not None,
        "total_fees": plain(order.fees),
        "size_inclusive_of_fees": request.quote_size is not None,
        "total_value_after_fees": plain(order.filled_value + sign * order.fees),
        "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": request.type,
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": order.status.is_done,
        "product_type": "SPOT",
        "reject_message": "",
        "cancel_message": order.cancel_reason,
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": plain(order.hold),
        "is_liquidation": False,
        "last_fill_time": None if order.last_fill_ms is None else iso(order.last_fill_ms),
        "edit_history": [],
        "leverage": "",
        "margin_type": "UNKNOWN_MARGIN_TYPE",
        "retail_portfolio_id": order.account_id,
    }


def fill_json(fill: Fill, *, size_in_quote: bool) -> dict[str, Any]:
    """Return a fill as the fills endpoint shows it.

    The real venue gives the size of a market order by amount in quote currency, and says so.
    """
    return {
        "entry_id": entry_id(fill),
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "trade_time": iso(fill.time_ms),
        "trade_type": "FILL",
        "price": plain(fill.price),
        "size": plain(fill.size * fill.price if size_in_quote else fill.size),
        "commission": plain(fill.fee),
        "product_id": fill.product_id,
        "sequence_timestamp": iso(fill.time_ms),
        "liquidity_indicator": fill.liquidity,
        "size_in_quote": size_in_quote,
        "user_id": fill.account_id,
        "side": fill.side,
        "retail_portfolio_id": fill.account_id,
    }


def entry_id(fill: Fill) -> str:
    """Return the ledger entry id of a fill."""
    return sha256(f"{fill.account_id}:{fill.trade_id}".encode()).hexdigest()


def _amount(fields: Mapping[str, Any], name: str) -> Decimal | None:
    text = fields.get(name)
    if text is None or text == "":
        return None
    try:
        amount = Decimal(str(text))
    except InvalidOperation as error:
        raise invalid_argument(f"{name} is not a number") from error
    is_readable = amount.is_finite() and 0 < amount < _MOST_AMOUNT
    if not is_readable or decimals_of(amount) > _MOST_DIGITS:
        raise invalid_argument(f"{name} must be positive and not absurd")
    return amount


def _check_amounts(request: OrderRequest) -> None:
    if request.type is OrderType.LIMIT:
        if request.base_size is None or request.limit_price is None:
            raise invalid_argument("a limit order needs base_size and limit_price")
    elif (request.base_size is None) == (request.quote_size is None):
        raise invalid_argument("a market order needs either base_size or quote_size")


def _completion(order: Order) -> Decimal:
    if order.status is OrderStatus.FILLED:
        return Decimal(100)
    size = order.request.base_size
    whole, part = (
        (size, order.filled_size) if size else (order.request.quote_size, order.filled_value)
    )
    assert whole is not None
    return (100 * part / whole).quantize(Decimal("0.01"))
