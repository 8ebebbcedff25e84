"""Let the count of refused sends be left out

A process of the version before makes orders without it: an exit that it makes during a rolling
upgrade must not be refused by the database.

Revision ID: 0028
Revises: 0027
"""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "refused_sends", server_default="0")


def downgrade() -> None:
    op.alter_column("orders", "refused_sends", server_default=None)
