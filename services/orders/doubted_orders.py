"""The orders of an account that a reconciliation looks up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.connections import Account
from models.trading import Order
from services.orders.conditions import is_under_way
from services.orders.settling import is_doubted


@dataclass(frozen=True, slots=True)
class ToLookUp:
    """An order to look up.

    Attributes:
        order_id: which.
        symbol: its market.
        is_final: whether it has an end, which may have to be corrected.
        absent_since: wall time at which it was taken for absent, where that is doubted.
    """

    order_id: UUID
    symbol: str
    is_final: bool
    absent_since: datetime | None = None


async def orders_to_look_up(
    session: AsyncSession, account_id: UUID, now: datetime
) -> Sequence[ToLookUp]:
    """Orders that have not ended, then those whose absence is doubted."""
    columns = select(col(Order.id), col(Order.symbol), col(Order.settled_at))
    of_account = columns.join(Account, col(Account.id) == Order.account_id).where(
        Order.account_id == account_id
    )
    under_way = (await session.exec(of_account.where(is_under_way()))).all()
    doubted = (await session.exec(of_account.where(is_doubted(now)))).all()
    return [
        *(ToLookUp(order_id, symbol, is_final=False) for order_id, symbol, _ in under_way),
        *(
            ToLookUp(order_id, symbol, is_final=True, absent_since=settled_at)
            for order_id, symbol, settled_at in doubted
        ),
    ]
