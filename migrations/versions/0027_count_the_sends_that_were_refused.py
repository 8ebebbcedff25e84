"""Count the sends of an order that were refused

Revision ID: 0027
Revises: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "orders",
        sa.Column("refused_sends", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.alter_column("orders", "refused_sends", server_default=None)
    op.create_check_constraint(
        op.f("ck_orders_refused_sends_range"), "orders", "refused_sends BETWEEN 0 AND sends"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_orders_refused_sends_range"), "orders", type_="check")
    op.drop_column("orders", "refused_sends")
