"""Keep which address the payment provider was told

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("email_digest", sa.String(), nullable=True))
    # Addresses that were changed so far were told to nobody: every customer is looked at once.
    op.execute("UPDATE subscriptions SET next_look_at = now() WHERE customer_id IS NOT NULL")


def downgrade() -> None:
    op.drop_column("subscriptions", "email_digest")
