"""Note which bar was announced last

Revision ID: 0036
Revises: 0035
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "announced_bars",
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("venue", "realm", name=op.f("pk_announced_bars")),
    )
    op.execute("GRANT SELECT ON announced_bars TO nija_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON announced_bars TO nija_system")


def downgrade() -> None:
    op.drop_table("announced_bars")
