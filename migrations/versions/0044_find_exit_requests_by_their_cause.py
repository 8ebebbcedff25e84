"""Find exit requests by their cause

Revision ID: 0044
Revises: 0043
"""

from __future__ import annotations

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_exit_requests_cause", "exit_requests", ["cause"])


def downgrade() -> None:
    op.drop_index("ix_exit_requests_cause", "exit_requests")
