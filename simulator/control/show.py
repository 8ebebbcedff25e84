"""Balances, orders, fills and manual actions as control calls show them."""

from collections.abc import Mapping
from typing import Any

from simulator.coinbase.wire import entry_id, iso
from simulator.engine.accounts import Balance
from simulator.engine.values import Fill, Order
from simulator.exact import plain
from simulator.store import ManualAction


def balances_json(balances: Mapping[str, Balance]) -> dict[str, dict[str, str]]:
    """Return balances by currency."""
    return {
        currency: {
            "total": plain(balance.total),
            "available": plain(balance.available),
            "hold": plain(balance.held),
        }
        for currency, balance in sorted(balances.items())
    }


def order_json(order: Order, *, is_manual: bool) -> dict[str, Any]:
    """Return an order as it is, whatever its client is shown."""
    request = order.request
    amounts = {
        "base_size": request.base_size,
        "quote_size": request.quote_size,
        "limit_price": request.limit_price,
    }
    return {
        "order_id": order.order_id,
        "client_order_id": request.client_order_id,
        "product_id": request.product_id,
        "side": request.side,
        "type": request.type,
        "time_in_force": request.time_in_force,
        "post_only": request.post_only,
        **{name: None if size is None else plain(size) for name, size in amounts.items()},
        "status": order.status,
        "filled_size": plain(order.filled_size),
        "filled_value": plain(order.filled_value),
        "average_price": plain(order.average_price),
        "fees": plain(order.fees),
        "hold": plain(order.hold),
        "number_of_fills": order.fill_count,
        "cancel_reason": order.cancel_reason,
        "created_time": iso(order.created_ms),
        "last_fill_time": None if order.last_fill_ms is None else iso(order.last_fill_ms),
        "received_at": order.received_at,
        "sequence": order.sequence,
        "is_manual": is_manual,
    }


def fill_json(fill: Fill) -> dict[str, Any]:
    """Return a fill as it is."""
    return {
        "trade_id": fill.trade_id,
        "entry_id": entry_id(fill),
        "order_id": fill.order_id,
        "product_id": fill.product_id,
        "side": fill.side,
        "price": plain(fill.price),
        "size": plain(fill.size),
        "fee": plain(fill.fee),
        "liquidity": fill.liquidity,
        "time": iso(fill.time_ms),
        "sequence": fill.sequence,
    }


def manual_action_json(action: ManualAction) -> dict[str, Any]:
    """Return a manual action."""
    return {
        "kind": action.kind,
        "order_id": action.order_id,
        "currency": action.currency,
        "amount": None if action.amount is None else plain(action.amount),
        "time": iso(action.time_ms),
    }
