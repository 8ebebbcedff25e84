"""Let requests for parts of a position be merged

Revision ID: 0029
Revises: 0028
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exit_requests", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_exit_requests_user_id_merged_into_exit_requests"),
        "exit_requests",
        "exit_requests",
        ["user_id", "merged_into"],
        ["user_id", "id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_exit_requests_merged_into", "exit_requests", ["merged_into"])
    op.drop_constraint(op.f("ck_exit_requests_state"), "exit_requests")
    op.create_check_constraint(
        op.f("ck_exit_requests_state"),
        "exit_requests",
        "state IN ('open', 'merged', 'done', 'denied')",
    )
    op.create_check_constraint(
        op.f("ck_exit_requests_merged_into"),
        "exit_requests",
        "state <> 'merged' OR merged_into IS NOT NULL",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_exit_requests_merged_into"), "exit_requests")
    op.execute("UPDATE exit_requests SET state = 'done' WHERE state = 'merged'")
    op.drop_constraint(op.f("ck_exit_requests_state"), "exit_requests")
    op.create_check_constraint(
        op.f("ck_exit_requests_state"), "exit_requests", "state IN ('open', 'done', 'denied')"
    )
    op.drop_index("ix_exit_requests_merged_into", table_name="exit_requests")
    op.drop_constraint(
        op.f("fk_exit_requests_user_id_merged_into_exit_requests"), "exit_requests"
    )
    op.drop_column("exit_requests", "merged_into")
