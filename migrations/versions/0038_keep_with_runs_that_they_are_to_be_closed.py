"""Keep with runs that all of their positions are to leave

Revision ID: 0038
Revises: 0037
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bot_runs", sa.Column("close_requested", sa.String(), nullable=True))
    op.add_column("bot_runs", sa.Column("close_cause", sa.String(), nullable=True))
    op.create_index(
        "ix_bot_runs_closing",
        "bot_runs",
        ["id"],
        postgresql_where=sa.text("close_requested IS NOT NULL AND state <> 'ended'"),
    )


def downgrade() -> None:
    op.drop_index("ix_bot_runs_closing", "bot_runs")
    op.drop_column("bot_runs", "close_cause")
    op.drop_column("bot_runs", "close_requested")
