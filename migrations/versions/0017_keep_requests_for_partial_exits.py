"""Keep requests for partial exits

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

LEGS = "leg IN ('entry', 'stop', 'target_1', 'target_2', 'target_3', 'exit', 'flatten'{more})"
ROW_LEVEL_SECURITY = (
    "ALTER TABLE exit_requests ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON exit_requests USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON exit_requests TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON exit_requests TO nija_system",
)


def upgrade() -> None:
    op.create_table(
        "exit_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("refusal_code", sa.String(), nullable=True),
        sa.Column("refusal_reason", sa.String(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_exit_requests_quantity_positive")),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'denied')", name=op.f("ck_exit_requests_state")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_exit_requests_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["positions.user_id", "positions.id"],
            name=op.f("fk_exit_requests_user_id_position_id_positions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exit_requests")),
        sa.UniqueConstraint("position_id", "cause", name=op.f("uq_exit_requests_position_id_cause")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_exit_requests_user_id_id")),
    )
    op.create_index(
        "ix_exit_requests_open",
        "exit_requests",
        ["position_id"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_constraint(op.f("ck_orders_leg"), "orders")
    op.create_check_constraint(op.f("ck_orders_leg"), "orders", LEGS.format(more=", 'reduce'"))
    for statement in ROW_LEVEL_SECURITY:
        op.execute(statement)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_orders_leg"), "orders")
    op.create_check_constraint(op.f("ck_orders_leg"), "orders", LEGS.format(more=""))
    op.drop_table("exit_requests")
