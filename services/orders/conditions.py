"""Conditions on orders, written as the conditions of their partial indexes are.

Values are literals: a plan that the server keeps for a statement serves any parameters, so it could
not use those indexes and would read every order that there ever was.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal_column
from sqlmodel import col

from domain.orders import FINAL_STATES, Leg, OrderState
from domain.refusals import FORM_REFUSED
from models.trading import Order


def is_entry() -> ColumnElement[bool]:
    """Orders that add risk."""
    return col(Order.leg) == _literal(Leg.ENTRY)


def is_exit() -> ColumnElement[bool]:
    """Orders that reduce it."""
    return col(Order.leg) != _literal(Leg.ENTRY)


def is_live() -> ColumnElement[bool]:
    """Orders that have not ended."""
    return col(Order.state).not_in([_literal(state) for state in sorted(FINAL_STATES)])


def is_in(state: OrderState) -> ColumnElement[bool]:
    """Orders in one state."""
    return col(Order.state) == _literal(state)


def is_under_way() -> ColumnElement[bool]:
    """Orders that may be at their venue with an end that our books do not have: sent and not ended.

    One that waits to be sent again counts: its first send may have arrived and filled.
    """
    was_sent = ~is_in(OrderState.INTENDED) | (col(Order.sends) > literal_column("0"))
    return is_live() & was_sent


def has_filled() -> ColumnElement[bool]:
    """Orders that filled anything."""
    return col(Order.filled_quantity) > literal_column("0")


def is_form_refused() -> ColumnElement[bool]:
    """Orders that were refused for their size or kind."""
    return col(Order.refusal_code).in_([_literal(code) for code in sorted(FORM_REFUSED)])


def _literal(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'")
