"""Which positions are to be left: one definition for the guard, the exits worker and its poll."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, literal_column
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import Leg
from domain.positions import PositionState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import ExitRequest, ExitRequestState, Order, Position, Trigger, TriggerState
from services.orders.conditions import is_exit, is_live

HAS_KEYS = """
NOT EXISTS (SELECT FROM accounts a JOIN connections c ON c.id = a.connection_id
            WHERE a.id = p.account_id AND c.status = 'removed')
"""
"""Positions `p` but those whose keys were removed: nothing of them can be sold."""


def is_to_leave() -> ColumnElement[bool]:
    """Open positions that were asked to leave, whole or in part, or whose trigger has fired.

    In runs of any state: what was asked for or fired is carried out. Only without keys, where the
    connection was removed, nothing can be sold.
    """
    fired = select(Trigger.position_id).where(_has_fired())
    # By position: of many open requests only those of the positions in question are read.
    asked = (
        select(ExitRequest.id)
        .where(
            ExitRequest.position_id == Position.id,
            ExitRequest.state == literal_column(f"'{ExitRequestState.OPEN.value}'"),
        )
        .exists()
    )
    return (
        (col(Position.state) == PositionState.OPEN.value)
        & has_keys()
        & (col(Position.close_requested).is_not(None) | col(Position.id).in_(fired) | asked)
    )


def leaves_whole() -> ColumnElement[bool]:
    """Of positions that are to leave those of which all is: asked to, or by their stop."""
    stopped = (
        select(Trigger.id)
        .where(
            Trigger.position_id == Position.id,
            Trigger.leg == literal_column(f"'{Leg.STOP.value}'"),
            _has_fired(),
        )
        .exists()
    )
    return col(Position.close_requested).is_not(None) | stopped


async def is_leaving(session: AsyncSession, position_id: UUID) -> bool:
    """Whether a position is to be left, or an exit order of it has not ended."""
    is_under_way = (
        select(Order.id).where(Order.position_id == position_id, is_exit(), is_live()).exists()
    )
    found = await session.exec(
        select(Position.id).where(Position.id == position_id, is_to_leave() | is_under_way)
    )
    return found.first() is not None


def _has_fired() -> ColumnElement[bool]:
    """Triggers that fired; with a literal, as the conditions of the partial indexes are."""
    return col(Trigger.state) == literal_column(f"'{TriggerState.FIRED.value}'")


def has_keys() -> ColumnElement[bool]:
    """Positions, live and paper ones, but those of a connection that was removed."""
    removed = (
        select(Account.id)
        .join(Connection, col(Connection.id) == Account.connection_id)
        .where(Connection.status == ConnectionStatus.REMOVED.value)
    )
    return col(Position.account_id).not_in(removed)
