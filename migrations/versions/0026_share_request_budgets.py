"""Share request budgets between processes

Revision ID: 0026
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "request_budgets",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("tokens", sa.Numeric(), nullable=False),
        sa.Column("refilled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_request_budgets")),
    )
    op.execute("GRANT SELECT ON request_budgets TO nija_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON request_budgets TO nija_system")


def downgrade() -> None:
    op.drop_table("request_budgets")
