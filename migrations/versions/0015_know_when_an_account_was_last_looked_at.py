"""Tell the last look at an account from the last attempt at one

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "accounts", sa.Column("reconcile_tried_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("UPDATE accounts SET reconcile_tried_at = reconciled_at")
    # The keys were refused at that time: when the last look was that saw something is not known.
    op.execute("UPDATE accounts SET reconciled_at = NULL WHERE reconcile_error IS NOT NULL")


def downgrade() -> None:
    op.execute("UPDATE accounts SET reconciled_at = reconcile_tried_at")
    op.drop_column("accounts", "reconcile_tried_at")
