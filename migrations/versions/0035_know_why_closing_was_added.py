"""Know why and by whom closing was added to an engaged kill switch

Revision ID: 0035
Revises: 0034
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "kill_switches", sa.Column("closing_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("kill_switches", sa.Column("closing_by", sa.Uuid(), nullable=True))
    op.add_column("kill_switches", sa.Column("closing_reason", sa.String(), nullable=True))


def downgrade() -> None:
    for column in ("closing_reason", "closing_by", "closing_since"):
        op.drop_column("kill_switches", column)
