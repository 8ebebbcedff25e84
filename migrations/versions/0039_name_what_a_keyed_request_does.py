"""Name what a request with an idempotency key does

Revision ID: 0039
Revises: 0038
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The default is for processes of the version before that still run.
    op.add_column(
        "idempotency_keys",
        sa.Column(
            "command_id", sa.Uuid(), nullable=False, server_default=sa.text("gen_random_uuid()")
        ),
    )


def downgrade() -> None:
    op.drop_column("idempotency_keys", "command_id")
