"""Keep the positions that an exit which waits was first decided on

Revision ID: 0046
Revises: 0045
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("exit_positions", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    op.add_column("alerts", column)


def downgrade() -> None:
    op.drop_column("alerts", "exit_positions")
