"""Receive alerts

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE webhook_keys ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON webhook_keys USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_keys TO nija_app",
    "ALTER TABLE alerts ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON alerts USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON alerts TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_keys TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON alerts TO nija_system",
)


def upgrade() -> None:
    op.create_table(
        "webhook_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_webhook_keys_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_webhook_keys_key_hash")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_webhook_keys_user_id_id")),
    )
    op.create_index(
        "uq_webhook_keys_present",
        "webhook_keys",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("ends_at IS NULL"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("action", sa.String(), nullable=True),
        sa.Column("symbol", sa.String(), nullable=True),
        sa.Column("price", sa.Numeric(), nullable=True),
        sa.Column("size_usd", sa.Numeric(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("strategy", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("dedup_key", sa.String(), nullable=True),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("trade_id", sa.Uuid(), nullable=True),
        sa.Column("alerted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('processing', 'accepted', 'executed', 'unfilled', 'refused', 'expired',"
            " 'duplicate', 'stale')",
            name=op.f("ck_alerts_state"),
        ),
        sa.CheckConstraint("action IN ('buy', 'sell', 'close')", name=op.f("ck_alerts_action")),
        sa.ForeignKeyConstraint(
            ["user_id", "bot_id"],
            ["bots.user_id", "bots.id"],
            name=op.f("fk_alerts_user_id_bot_id_bots"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "duplicate_of"],
            ["alerts.user_id", "alerts.id"],
            name=op.f("fk_alerts_user_id_duplicate_of_alerts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "key_id"],
            ["webhook_keys.user_id", "webhook_keys.id"],
            name=op.f("fk_alerts_user_id_key_id_webhook_keys"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_alerts_user_id_id")),
    )
    op.create_index(
        "uq_alerts_dedup_key",
        "alerts",
        ["user_id", "dedup_key"],
        unique=True,
        postgresql_where=sa.text("dedup_key IS NOT NULL"),
    )
    op.create_index(
        "ix_alerts_user_time",
        "alerts",
        ["user_id", sa.literal_column("received_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_alerts_key_time", "alerts", ["key_id", "received_at"], unique=False)
    op.create_index("ix_alerts_duplicate_of", "alerts", ["duplicate_of"], unique=False)
    op.create_index(
        "ix_alerts_inbox",
        "alerts",
        ["user_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("state='processing'"),
    )
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('processing', 'accepted')"),
    )
    for statement in ROW_LEVEL_SECURITY:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("alerts")
    op.drop_table("webhook_keys")
