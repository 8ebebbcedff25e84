"""Which positions are to be left: one definition for the guard, the exits worker and its poll."""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal_column
from sqlmodel import col, select

from domain.positions import PositionState
from models.connections import Account, Connection, ConnectionStatus
from models.trading import ExitRequest, ExitRequestState, Position, Trigger, TriggerState


def is_to_leave() -> ColumnElement[bool]:
    """Open positions that were asked to leave, whole or in part, or whose trigger has fired.

    In runs of any state: what was asked for or fired is carried out. Only without keys, where the
    connection was removed, nothing can be sold.
    """
    fired = select(Trigger.position_id).where(Trigger.state == TriggerState.FIRED.value)
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


def has_keys() -> ColumnElement[bool]:
    """Positions, live and paper ones, but those of a connection that was removed."""
    removed = (
        select(Account.id)
        .join(Connection, col(Connection.id) == Account.connection_id)
        .where(Connection.status == ConnectionStatus.REMOVED.value)
    )
    return col(Position.account_id).not_in(removed)
