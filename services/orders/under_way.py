"""Which orders may be at their venue with an end that our books do not have."""

from __future__ import annotations

from sqlalchemy import ColumnElement
from sqlmodel import col

from domain.orders import FINAL_STATES, OrderState
from models.trading import Order

_FINAL = tuple(state.value for state in FINAL_STATES)


def is_under_way() -> ColumnElement[bool]:
    """Orders that were sent and have not ended.

    One that waits to be sent again counts: its first send may have arrived and filled.
    """
    was_sent = (col(Order.state) != OrderState.INTENDED.value) | (col(Order.sends) > 0)
    return col(Order.state).not_in(_FINAL) & was_sent
