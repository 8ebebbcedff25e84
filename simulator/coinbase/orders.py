"""Orders and fills: create, cancel, get and list."""

import json
from dataclasses import replace
from typing import Any, Final

from starlette.routing import Route

from simulator.coinbase.calls import SignedCall, signed
from simulator.coinbase.errors import invalid_argument, not_found, refused_order
from simulator.coinbase.wire import fill_json, milliseconds, order_json, parse_order
from simulator.engine.values import Order, OrderRefusedError, OrderStatus
from simulator.exchange import OrderNotOpenError
from simulator.faults.kinds import CallName
from simulator.store import Filter

_MOST_CANCELS: Final = 100
_MOST_ORDERS: Final = 1000
_MOST_FILLS: Final = 3000
_DEFAULT_LIMIT: Final = 100
_CANCEL_FAILURES: Final = {
    None: "UNKNOWN_CANCEL_ORDER",
    OrderStatus.CANCELLED.value: "DUPLICATE_CANCEL_REQUEST",
    OrderStatus.FILLED.value: "INVALID_CANCEL_REQUEST",
    OrderStatus.FAILED.value: "INVALID_CANCEL_REQUEST",
}


def create_order(call: SignedCall) -> dict[str, Any]:
    """Place an order; a refusal is answered with status 200 and `success: false`."""
    body = call.json_object()
    configuration = body.get("order_configuration")
    try:
        request = parse_order(body)
        order = call.exchange.place(call.account, request, json.dumps(configuration))
    except OrderRefusedError as refused:
        return refused_order(refused.refusal, configuration)
    return {
        "success": True,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": order.order_id,
        "success_response": {
            "order_id": order.order_id,
            "product_id": order.request.product_id,
            "side": order.request.side,
            "client_order_id": order.request.client_order_id,
        },
        "order_configuration": json.loads(order.configuration),
    }


def cancel_orders(call: SignedCall) -> dict[str, Any]:
    """Cancel orders, each with its own outcome."""
    order_ids = call.json_object().get("order_ids")
    if not isinstance(order_ids, list) or not 0 < len(order_ids) <= _MOST_CANCELS:
        raise invalid_argument(f"order_ids must name 1 to {_MOST_CANCELS} orders")
    return {"results": [_cancel(call, str(order_id)) for order_id in order_ids]}


def get_order(call: SignedCall) -> dict[str, Any]:
    """Answer with one order."""
    order = call.view.order(call.request.path_params["order_id"])
    if order is None:
        raise not_found("order with this orderID was not found")
    return {"order": _order_json(call, order)}


def list_orders(call: SignedCall) -> dict[str, Any]:
    """Answer with the account's orders, newest first."""
    filter_ = replace(
        _filter(call, ("start_date", "end_date"), _MOST_ORDERS),
        statuses=call.all("order_status"),
        sides=call.all("order_side"),
    )
    orders, cursor = call.view.orders(filter_)
    return {
        "orders": [_order_json(call, order) for order in orders],
        "sequence": "0",
        "has_next": cursor is not None,
        "cursor": "" if cursor is None else str(cursor),
    }


def list_fills(call: SignedCall) -> dict[str, Any]:
    """Answer with the account's fills, newest first."""
    times = ("start_sequence_timestamp", "end_sequence_timestamp")
    fills, cursor = call.view.fills(_filter(call, times, _MOST_FILLS))
    in_quote = call.exchange.store.orders_in_quote({fill.order_id for fill in fills})
    return {
        "fills": [fill_json(fill, size_in_quote=fill.order_id in in_quote) for fill in fills],
        "cursor": "" if cursor is None else str(cursor),
    }


def _order_json(call: SignedCall, order: Order) -> dict[str, Any]:
    return order_json(order, is_cancelling=call.view.is_cancelling(order))


def _cancel(call: SignedCall, order_id: str) -> dict[str, Any]:
    failure = "UNKNOWN_CANCEL_FAILURE_REASON"
    try:
        call.exchange.cancel(call.account, order_id)
        is_done = True
    except OrderNotOpenError as error:
        is_done, failure = False, _CANCEL_FAILURES[error.status]
    return {"success": is_done, "failure_reason": failure, "order_id": order_id}


def _filter(call: SignedCall, times: tuple[str, str], most: int) -> Filter:
    start, end = call.one(times[0]), call.one(times[1])
    cursor = call.integer("cursor", -1, least=0, most=2**63 - 1)
    return Filter(
        account_id=call.account.account_id,
        product_ids=call.all("product_ids", "product_id"),
        order_ids=call.all("order_ids", "order_id"),
        start_ms=milliseconds(start) if start else None,
        end_ms=milliseconds(end) if end else None,
        before=None if cursor < 0 else cursor,
        limit=call.integer("limit", _DEFAULT_LIMIT, least=1, most=most),
    )


_V3: Final = "/api/v3/brokerage/orders"
ROUTES: Final = [
    Route(_V3, signed("trade", CallName.PLACE, create_order), methods=["POST"]),
    Route(f"{_V3}/batch_cancel", signed("trade", CallName.CANCEL, cancel_orders), methods=["POST"]),
    Route(f"{_V3}/historical/batch", signed("view", CallName.LIST_ORDERS, list_orders)),
    Route(f"{_V3}/historical/fills", signed("view", CallName.LIST_FILLS, list_fills)),
    Route(f"{_V3}/historical/{{order_id}}", signed("view", CallName.GET_ORDER, get_order)),
]
