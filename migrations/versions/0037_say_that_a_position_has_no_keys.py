"""Say that a position has no keys

Revision ID: 0037
Revises: 0036
"""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_NAME = "ck_positions_exit_state"


def upgrade() -> None:
    op.drop_constraint(op.f(_NAME), "positions")
    op.create_check_constraint(
        op.f(_NAME), "positions", "exit_state IN ('working', 'failing', 'no_keys')"
    )


def downgrade() -> None:
    op.execute("UPDATE positions SET exit_state = 'failing' WHERE exit_state = 'no_keys'")
    op.drop_constraint(op.f(_NAME), "positions")
    op.create_check_constraint(
        op.f(_NAME), "positions", "exit_state IN ('working', 'failing')"
    )
