"""The audit entry of an execution, written in the transaction that stores its fills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import FillReport
from models.columns import new_id
from models.trading import Order
from services.audit import AuditEvent

# One statement, because it is on the way of every order; the venue is read along.
_RECORD = text("""
INSERT INTO audit_log (id, at, event_type, user_id, actor_id, meta)
SELECT CAST(:id AS uuid), CAST(:at AS timestamptz), :event, a.user_id, a.user_id,
       jsonb_build_object(
           'symbol', CAST(:symbol AS text), 'side', CAST(:side AS text),
           'size_usd', CAST(:size AS numeric), 'quantity', CAST(:quantity AS numeric),
           'broker', a.venue, 'mode', a.mode, 'leg', CAST(:leg AS text),
           'order_id', CAST(:order_id AS text), 'position_id', CAST(:position_id AS text))
FROM accounts a WHERE a.id = :account_id
""")


async def record_execution(
    session: AsyncSession, order: Order, new_fills: Sequence[FillReport], wall: datetime
) -> None:
    """Record what was just executed of an order; fills are stored once, and so is this."""
    connection = await session.connection()
    await connection.execute(
        _RECORD,
        {
            "id": new_id(),
            "at": wall,
            "event": AuditEvent.TRADE_EXECUTED.value,
            "symbol": order.symbol,
            "side": order.side,
            "size": sum((fill.price * fill.quantity for fill in new_fills), ZERO),
            "quantity": sum((fill.quantity for fill in new_fills), ZERO),
            "leg": order.leg,
            "order_id": str(order.id),
            "position_id": str(order.position_id),
            "account_id": order.account_id,
        },
    )
