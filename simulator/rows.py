"""Orders and fills as rows of the database, and back."""

import sqlite3
from collections.abc import Iterable
from decimal import Decimal

from simulator.engine.values import (
    Fill,
    Liquidity,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)


def order_row(order: Order) -> tuple[object, ...]:
    """Return the columns of an order, in the order of the table."""
    request = order.request
    return text_amounts(
        (
            order.sequence,
            order.order_id,
            order.account_id,
            request.client_order_id,
            request.product_id,
            request.side,
            request.type,
            request.time_in_force,
            request.base_size,
            request.quote_size,
            request.limit_price,
            request.post_only,
            order.created_ms,
            order.received_at,
            order.configuration,
            order.status,
            order.hold,
            order.filled_size,
            order.filled_value,
            order.fees,
            order.fill_count,
            order.last_fill_ms,
            order.cancel_reason,
        )
    )


def text_amounts(fields: Iterable[object]) -> tuple[object, ...]:
    """Return the fields with each Decimal as plain text."""
    return tuple(f"{field:f}" if isinstance(field, Decimal) else field for field in fields)


def _optional(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def order_of(row: sqlite3.Row) -> Order:
    """Return the order a row holds."""
    return Order(
        order_id=row["order_id"],
        account_id=row["account_id"],
        request=OrderRequest(
            client_order_id=row["client_order_id"],
            product_id=row["product_id"],
            side=Side(row["side"]),
            type=OrderType(row["type"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            base_size=_optional(row["base_size"]),
            quote_size=_optional(row["quote_size"]),
            limit_price=_optional(row["limit_price"]),
            post_only=bool(row["post_only"]),
        ),
        sequence=row["sequence"],
        created_ms=row["created_ms"],
        received_at=row["received_at"],
        configuration=row["configuration"],
        status=OrderStatus(row["status"]),
        hold=Decimal(row["hold"]),
        filled_size=Decimal(row["filled_size"]),
        filled_value=Decimal(row["filled_value"]),
        fees=Decimal(row["fees"]),
        fill_count=row["fill_count"],
        last_fill_ms=row["last_fill_ms"],
        cancel_reason=row["cancel_reason"],
    )


def fill_of(row: sqlite3.Row) -> Fill:
    """Return the fill a row holds."""
    return Fill(
        trade_id=row["trade_id"],
        order_id=row["order_id"],
        account_id=row["account_id"],
        product_id=row["product_id"],
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        size=Decimal(row["size"]),
        fee=Decimal(row["fee"]),
        liquidity=Liquidity(row["liquidity"]),
        sequence=row["sequence"],
        time_ms=row["time_ms"],
        quote_ms=row["quote_ms"],
        from_ladder=bool(row["from_ladder"]),
    )
