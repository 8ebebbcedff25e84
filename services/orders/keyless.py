"""What is left without keys, of a connection that was removed by force.

Orders of unknown fate end: nobody can look them up any more. What became of such an order at the
venue stays unknown, and its row, its position and a notice say so. Nothing is booked for it: a
position keeps what is known of it, without stop and targets, until its user has looked and writes
it off. No exit of it can be made, so it is no failing exit, and its state says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import case
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Realm, VenueKey
from domain.orders import OrderState
from domain.ports import Venues, WallClock
from domain.positions import PositionState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import ExitState, Order, Position, Trigger, TriggerState
from services.database import Database
from services.isolation import isolated
from services.notices import NoticeKind, tell
from services.orders.booking import book
from services.orders.conditions import is_under_way
from services.orders.protection import LIVE, cancel_triggers
from services.orders.refusals import OUTCOME_UNKNOWN
from services.orders.row_locks import lock_position_and_order
from services.orders.settling import IN_FLIGHT_MAX
from services.orders.venue_time import time_without_asking

REASON = "The connection was removed before the broker had said what became of the order"
NOTHING_CAN_BE_SOLD = "The connection was removed, so nothing can be sold"

_WITHOUT_KEYS = (
    select(Account.id)
    .join(Connection, col(Connection.id) == Account.connection_id)
    .where(Connection.status == ConnectionStatus.REMOVED.value)
)
"""Accounts whose connection was removed."""

_log = structlog.get_logger("nija.orders")


async def end_orders_without_keys(database: Database, venues: Venues, clock: WallClock) -> None:
    """End every order that was sent, has no end and whose connection was removed.

    One whose send may be on its way is left to the next time. Each is a transaction of its own.
    """
    now = clock.now()
    async with database.as_system() as session:
        found = await _found(session, now)
    for user_id, order_id in found:
        with isolated("order.not_ended", order_id=order_id):
            async with database.for_user(user_id) as session:
                await _end(session, venues, order_id, now)


async def mark_positions_without_keys(database: Database) -> int:
    """Say of open positions whose connection was removed that nothing can be sold; how many.

    Those that another transaction has locked are left to the next time.
    """
    found = (
        select(Position.id)
        .where(
            col(Position.account_id).in_(_WITHOUT_KEYS),
            Position.state == PositionState.OPEN.value,
            col(Position.exit_state).is_distinct_from(ExitState.NO_KEYS.value),
        )
        .with_for_update(skip_locked=True)
    )
    async with database.as_system() as session:
        marked = await session.exec(
            update(Position)
            .where(col(Position.id).in_(found))
            .values(exit_state=ExitState.NO_KEYS.value, exit_error=NOTHING_CAN_BE_SOLD)
        )
    return marked.rowcount


async def cancel_triggers_without_keys(database: Database) -> None:
    """End what a booking armed that had begun before its connection was removed, and ended after.

    Triggers that another transaction has locked are left to the next time.
    """
    found = (
        select(Trigger.id)
        .where(col(Trigger.account_id).in_(_WITHOUT_KEYS), col(Trigger.state).in_(LIVE))
        .with_for_update(skip_locked=True)
    )
    was_fired = col(Trigger.state) == TriggerState.FIRED.value
    over = case((was_fired, TriggerState.DONE.value), else_=TriggerState.CANCELLED.value)
    async with database.as_system() as session:
        await session.exec(update(Trigger).where(col(Trigger.id).in_(found)).values(state=over))


async def _found(
    session: AsyncSession, now: datetime, order_id: UUID | None = None
) -> Sequence[tuple[UUID, UUID]]:
    statement = (
        select(col(Order.user_id), col(Order.id))
        .where(
            col(Order.account_id).in_(_WITHOUT_KEYS),
            is_under_way(),
            col(Order.sent_at).is_(None) | (col(Order.sent_at) < now - IN_FLIGHT_MAX),
        )
        .order_by(col(Order.id))
    )
    if order_id is not None:
        statement = statement.where(Order.id == order_id)
    return (await session.exec(statement)).all()


async def _end(session: AsyncSession, venues: Venues, order_id: UUID, now: datetime) -> None:
    position, order = await lock_position_and_order(session, order_id)
    if not await _found(session, now, order_id):  # sent again, or settled, meanwhile
        return
    account = (await session.exec(select(Account).where(Account.id == order.account_id))).one()
    key = VenueKey(account.venue, Realm(account.realm))
    await book(
        session,
        order_id,
        fills=(),
        state=OrderState.ABSENT,
        at=await time_without_asking(session, venues, key, order, now),
        wall=now,
        refusal=(OUTCOME_UNKNOWN, REASON),
    )
    # Nothing can be sold without keys, so nothing is to be woken for it.
    await cancel_triggers(session, position.id)
    if position.state == PositionState.OPEN:
        position.exit_state, position.exit_error = ExitState.NO_KEYS, REASON
        session.add(position)
    facts = {
        "position_id": position.id.hex,
        "symbol": order.symbol,
        "leg": order.leg,
        "venue": account.venue,
        "remaining": f"{position.open_quantity.normalize():f}",
    }
    kind = NoticeKind.ORDER_UNRESOLVED
    await tell(session, order.user_id, kind, order.id.hex, now=now, facts=facts)
    _log.warning("order.unresolved", order_id=str(order.id), leg=order.leg, symbol=order.symbol)
