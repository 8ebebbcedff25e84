"""Keep a place for orders that come back

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIVE = "state IN ('pending', 'open')"


def upgrade() -> None:
    op.add_column(
        "positions",
        sa.Column("surplus_quantity", sa.Numeric(), server_default="0", nullable=False),
    )
    op.add_column(
        "positions", sa.Column("came_back", sa.Boolean(), server_default="false", nullable=False)
    )
    op.alter_column("positions", "surplus_quantity", server_default=None)
    op.alter_column("positions", "came_back", server_default=None)
    op.create_check_constraint(
        op.f("ck_positions_surplus_not_negative"), "positions", "surplus_quantity >= 0"
    )
    _index_live_symbols(f"{LIVE} AND NOT came_back")
    op.create_index(
        "ix_orders_absent", "orders", ["settled_at"], postgresql_where=sa.text("state='absent'")
    )


def downgrade() -> None:
    op.drop_index("ix_orders_absent", table_name="orders")
    _index_live_symbols(LIVE)
    op.drop_constraint(op.f("ck_positions_surplus_not_negative"), "positions")
    op.drop_column("positions", "came_back")
    op.drop_column("positions", "surplus_quantity")


def _index_live_symbols(where: str) -> None:
    op.drop_index("uq_positions_live_symbol", table_name="positions")
    op.create_index(
        "uq_positions_live_symbol",
        "positions",
        ["account_id", "symbol"],
        unique=True,
        postgresql_where=sa.text(where),
    )
