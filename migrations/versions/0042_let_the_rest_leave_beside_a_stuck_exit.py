"""Let the rest of a position leave beside an exit that is stuck at its venue

Revision ID: 0042
Revises: 0041
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_LIVE_EXIT = sa.text(
    "leg <> 'entry' AND state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
)
_NAME = "uq_orders_live_exit"


def upgrade() -> None:
    op.add_column("orders", sa.Column("set_aside_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_index(_NAME, table_name="orders")
    op.create_index(
        _NAME,
        "orders",
        ["position_id", "set_aside_at"],
        unique=True,
        postgresql_where=_LIVE_EXIT,
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    op.drop_index(_NAME, table_name="orders")
    op.create_index(
        _NAME, "orders", ["position_id"], unique=True, postgresql_where=_LIVE_EXIT
    )
    op.drop_column("orders", "set_aside_at")
