"""Know what a venue's list says of markets, and how old the list is

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "market_states",
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'limit_only', 'post_only', 'auction', 'cancel_only', 'halted')",
            name=op.f("ck_market_states_status"),
        ),
        sa.PrimaryKeyConstraint("venue", "realm", "symbol", name=op.f("pk_market_states")),
    )
    op.execute("GRANT SELECT ON market_states TO nija_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON market_states TO nija_system")
    op.add_column(
        "venue_states", sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "venue_states",
        sa.Column("malformed", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.alter_column("venue_states", "malformed", server_default=None)


def downgrade() -> None:
    op.drop_column("venue_states", "malformed")
    op.drop_column("venue_states", "listed_at")
    op.drop_table("market_states")
