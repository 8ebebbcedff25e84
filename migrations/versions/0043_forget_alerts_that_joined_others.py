"""Forget alerts that joined others

Revision ID: 0043
Revises: 0042
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

OVER = "state IN ('duplicate', 'stale', 'refused')"


def upgrade() -> None:
    op.drop_index("ix_alerts_forgettable", table_name="alerts")
    op.create_index(
        "ix_alerts_forgettable",
        "alerts",
        ["received_at"],
        postgresql_where=sa.text(
            f"dedup_key IS NULL AND ({OVER}"
            " OR state = 'accepted' AND duplicate_of IS NOT NULL)"
        ),
    )


def downgrade() -> None:
    op.drop_index("ix_alerts_forgettable", table_name="alerts")
    op.create_index(
        "ix_alerts_forgettable",
        "alerts",
        ["received_at"],
        postgresql_where=sa.text(f"dedup_key IS NULL AND {OVER}"),
    )
