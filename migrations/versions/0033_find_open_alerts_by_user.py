"""Find the alerts that are followed by user

Those that ask for what another one asks for already are not followed.

Revision ID: 0033
Revises: 0032
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

OPEN = "state IN ('processing', 'accepted')"


def upgrade() -> None:
    op.drop_index("ix_alerts_open", table_name="alerts")
    op.create_index(
        "ix_alerts_followed",
        "alerts",
        ["user_id", "received_at"],
        postgresql_where=sa.text(f"{OPEN} AND duplicate_of IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_alerts_followed", table_name="alerts")
    op.create_index(
        "ix_alerts_open", "alerts", ["received_at"], postgresql_where=sa.text(OPEN)
    )
