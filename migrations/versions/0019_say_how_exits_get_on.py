"""Say how exits get on, and what left by other hands

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

CHECKS = (
    (
        "positions",
        "ck_positions_gone_not_negative",
        "closed_elsewhere_quantity >= 0 AND written_off_quantity >= 0",
    ),
    ("positions", "ck_positions_exit_state", "exit_state IN ('working', 'failing')"),
    ("orders", "ck_orders_counts_not_negative", "sends >= 0 AND cancels >= 0"),
    (
        "orders",
        "ck_orders_cancel_outcome",
        "cancel_outcome IN ('asking', 'accepted', 'refused', 'unknown')",
    ),
)
FLOW_KINDS = "kind IN ('opening', 'external', {more}'reset')"


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Numeric(), nullable=False, server_default="0")


def _count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default="0")


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.String(), nullable=True)


ADDED: dict[str, tuple[sa.Column[object], ...]] = {
    "positions": (
        _number("closed_elsewhere_quantity"),
        _number("written_off_quantity"),
        _text("exit_state"),
        _time("exit_due_at"),
        _count("exit_attempts"),
        _text("exit_error"),
        sa.Column("sellable_quantity", sa.Numeric(), nullable=True),
    ),
    "orders": (
        _count("sends"),
        _time("venue_first_sent_at"),
        _count("cancels"),
        _time("cancel_asked_at"),
        _text("cancel_outcome"),
        _text("cancel_reason"),
    ),
    "balances": (_time("short_since"),),
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column)
    op.execute(
        "UPDATE orders SET sends = 1, venue_first_sent_at = venue_sent_at"
        " WHERE sent_at IS NOT NULL"
    )
    for table, name, rule in CHECKS:
        op.create_check_constraint(op.f(name), table, rule)
    _set_flow_kinds("'external_trade', ")
    # What a venue settles later of a fill is its fee alone.
    op.execute("GRANT UPDATE (fee, fee_currency, fee_quote) ON fills TO nija_app, nija_system")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (fee, fee_currency, fee_quote) ON fills FROM nija_app, nija_system")
    op.execute("UPDATE flows SET kind = 'external' WHERE kind = 'external_trade'")
    _set_flow_kinds("")
    for table, name, _ in CHECKS:
        op.drop_constraint(op.f(name), table)
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)


def _set_flow_kinds(more: str) -> None:
    op.drop_constraint(op.f("ck_flows_kind"), "flows")
    op.create_check_constraint(op.f("ck_flows_kind"), "flows", FLOW_KINDS.format(more=more))
