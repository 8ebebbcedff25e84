"""Let alerts close a part of a position, or positions of one side

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts", sa.Column("percent", sa.Numeric(), nullable=True))
    op.add_column("alerts", sa.Column("side", sa.String(), nullable=True))
    op.create_check_constraint(op.f("ck_alerts_side"), "alerts", "side IN ('long', 'short')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_alerts_side"), "alerts")
    op.drop_column("alerts", "side")
    op.drop_column("alerts", "percent")
