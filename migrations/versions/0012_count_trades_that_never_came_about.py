"""Count trades that never came about

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_positions_cancelled",
        "positions",
        ["user_id", "account_id"],
        postgresql_include=["symbol", "closed_at"],
        postgresql_where=sa.text("state = 'cancelled'"),
    )


def downgrade() -> None:
    op.drop_index("ix_positions_cancelled", table_name="positions")
