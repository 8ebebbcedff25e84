"""How the exit of a position gets on: on its row, and told to its user when it takes too long.

From when an exit is due until it is through, the row says so: since when, how many orders in a row
filled nothing, and why the latest did not. Metrics, views and the bot's status read it from there.
Whatever may take the last reason to leave away has `note_whether_due` decide.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import Leg, OrderState
from domain.ports import WallClock
from domain.positions import PositionState
from models.connections import Account
from models.trading import ExitState, Order, Position
from services.database import Database
from services.isolation import isolated
from services.notices import NoticeKind, tell
from services.orders.due_exits import is_leaving, is_to_leave
from services.orders.latest_exits import latest_exit

LATE_AFTER = timedelta(seconds=30)
"""Wall time since it was due after which an exit that is not through is told of."""

FAILING_AFTER = 5
"""Attempts in vain after which the user is told, however little time they took."""

_PARTIAL = frozenset({Leg.TARGET_1, Leg.TARGET_2, Leg.TARGET_3, Leg.REDUCE})

_log = structlog.get_logger("nija.orders")


def note_due(position: Position, wall: datetime, *, in_vain: int, latest: Order | None) -> None:
    """Note that an exit is due, and how the orders for it went so far.

    Args:
        position: the row, locked.
        wall: wall time.
        in_vain: how many orders in a row filled nothing.
        latest: the latest of them.
    """
    position.exit_due_at = position.exit_due_at or wall
    position.exit_attempts = in_vain
    position.exit_error = _why(latest) if in_vain else None
    is_failing = in_vain > 0 or wall - position.exit_due_at >= LATE_AFTER
    position.exit_state = ExitState.FAILING if is_failing else ExitState.WORKING


def note_executed(position: Position, order: Order) -> None:
    """Note that an exit order ended with a fill: it gets on, or it is through."""
    if position.state == PositionState.CLOSED or order.leg in _PARTIAL:
        note_through(position)
    elif position.exit_due_at is not None:
        position.exit_attempts, position.exit_error = 0, None
        position.exit_state = ExitState.WORKING


async def note_whether_due(session: AsyncSession, position: Position) -> None:
    """Note that no exit is due any more, if none is: neither asked for, nor fired, nor under way.

    Args:
        session: a transaction of the position's user.
        position: the row, locked.
    """
    if position.exit_due_at is None or position.exit_state == ExitState.NO_KEYS:
        return
    await session.flush()
    if not await is_leaving(session, position.id):
        note_through(position)
        session.add(position)


def note_through(position: Position) -> None:
    """Note that no exit is due any more."""
    position.exit_state = position.exit_due_at = position.exit_error = None
    position.exit_attempts = 0


async def tell_if_late(
    session: AsyncSession, position: Position, cause: str, wall: datetime
) -> None:
    """Tell of an exit that is late or fails again and again, once for each cause of leaving.

    Args:
        session: a transaction of the position's user.
        position: the row, with what `note_due` wrote.
        cause: why it leaves.
        wall: wall time.
    """
    due_at = position.exit_due_at
    is_late = due_at is not None and wall - due_at >= LATE_AFTER
    if not is_late and position.exit_attempts < FAILING_AFTER:
        return
    account = (await session.exec(select(Account).where(Account.id == position.account_id))).one()
    facts = {
        "position_id": position.id.hex,
        "symbol": position.symbol,
        "venue": account.venue,
        "mode": account.mode,
        "attempts": position.exit_attempts,
        "remaining": f"{position.open_quantity.normalize():f}",
        "reason": position.exit_error,
    }
    about = f"{position.id.hex}:{cause}"
    await tell(session, position.user_id, NoticeKind.EXIT_FAILING, about, now=wall, facts=facts)


async def tell_of_late_exits(database: Database, clock: WallClock) -> None:
    """Find exits that are due for too long, whatever keeps them, and tell their users.

    The guard and the look-ups tell of those they see; this sees those that neither comes to because
    a worker or the workflow service is away.
    """
    wall = clock.now()
    async with database.as_system() as session:
        found = (
            await session.exec(
                select(col(Position.user_id), col(Position.id)).where(
                    is_to_leave(),
                    col(Position.exit_due_at).is_(None)
                    | (
                        (col(Position.exit_due_at) <= wall - LATE_AFTER)
                        & (col(Position.exit_state) != ExitState.FAILING.value)
                    ),
                )
            )
        ).all()
    for user_id, position_id in found:
        with isolated("exit.late_not_told", position_id=position_id):
            async with database.for_user(user_id) as session:
                await _look_at(session, position_id, wall)


async def _look_at(session: AsyncSession, position_id: UUID, wall: datetime) -> None:
    found = await session.exec(
        select(Position)
        .where(Position.id == position_id, is_to_leave())
        .with_for_update(skip_locked=True)
    )
    position = found.one_or_none()
    if position is None:
        return
    latest = await latest_exit(session, position_id)
    note_due(position, wall, in_vain=position.exit_attempts, latest=latest)
    session.add(position)
    cause = position.close_cause or (latest.cause if latest is not None else "due")
    await tell_if_late(session, position, cause, wall)


async def note_lateness(
    session: AsyncSession, order_id: UUID, wall: datetime, *, is_unanswered: bool
) -> None:
    """Tell of an exit whose order is looked up and has not ended for too long.

    Its reason follows what the look-ups find, until an order of it has ended in vain.

    Args:
        session: a transaction of the position's user.
        order_id: the order.
        wall: wall time.
        is_unanswered: whether the latest look-up failed.
    """
    order = await session.get_one(Order, order_id)
    found = await session.exec(
        select(Position).where(Position.id == order.position_id).with_for_update(skip_locked=True)
    )
    position = found.one_or_none()
    if position is None or position.state != PositionState.OPEN:
        return
    due_at = position.exit_due_at
    if due_at is None or wall - due_at < LATE_AFTER or position.exit_state == ExitState.NO_KEYS:
        return
    why = _why(order, is_unanswered=is_unanswered)
    is_told = position.exit_state == ExitState.FAILING
    # What an order met with that ended stays said, and one that was set aside has no say.
    if is_told and (position.exit_attempts or order.set_aside_at or position.exit_error == why):
        return
    position.exit_state = ExitState.FAILING
    position.exit_error = (position.exit_error if position.exit_attempts else None) or why
    session.add(position)
    if is_told:
        return
    await tell_if_late(session, position, order.cause, wall)
    _log.warning(
        "exit.late", position_id=str(position.id), symbol=position.symbol, order_id=str(order.id)
    )


def _why(order: Order | None, *, is_unanswered: bool = False) -> str | None:
    """Why an exit order has not done its work, in words: no more than is known of it."""
    if order is None:
        return None
    state = OrderState(order.state)
    if order.refusal_reason is not None and state is not OrderState.OPEN:
        return order.refusal_reason
    if state is OrderState.CANCELLED:
        return "The order ended without a fill"
    if state.is_final or not order.sends:
        return None
    if is_unanswered:
        return "Look-ups of the order fail"
    return _standing(order) if state is OrderState.OPEN else _UNKNOWN


_UNKNOWN = "The venue does not say what became of the order"


def _standing(order: Order) -> str:
    """What is known of an order that the venue accepted and that is not known to have ended."""
    if order.missed_at is not None:
        return "The venue accepted the order and does not list it any more"
    if order.cancels:  # that is asked for once a look-up has shown the order as open
        return "The venue listed the order as open and was asked to cancel it"
    return "The order is not known to be done"
