"""Make the tables of billing

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE billing_commands ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON billing_commands USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON billing_commands TO nija_app",
    "ALTER TABLE notices ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON notices USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notices TO nija_app",
    "ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON subscriptions USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions TO nija_app",
    "ALTER TABLE usage_periods ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON usage_periods USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON usage_periods TO nija_app",
    "ALTER TABLE stripe_events ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON billing_commands TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notices TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON usage_periods TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON stripe_events TO nija_system",
)


def upgrade() -> None:
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_events")),
    )
    op.create_index(
        "ix_stripe_events_unhandled",
        "stripe_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_table(
        "billing_commands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("decided", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("refusal", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('upgrade', 'downgrade', 'cancel', 'payment_method')",
            name=op.f("ck_billing_commands_kind"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'refused')", name=op.f("ck_billing_commands_state")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_billing_commands_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_commands")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_billing_commands_user_id_id")),
    )
    op.create_index(
        "ix_billing_commands_user_time",
        "billing_commands",
        ["user_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "uq_billing_commands_open",
        "billing_commands",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_notices_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_notices_user_id_id")),
        sa.UniqueConstraint("user_id", "key", name=op.f("uq_notices_user_id_key")),
    )
    op.create_index(
        "ix_notices_undelivered",
        "notices",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("provider_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("tier", sa.String(), nullable=True),
        sa.Column("interval", sa.String(), nullable=True),
        sa.Column("granted_tier", sa.String(), nullable=True),
        sa.Column("billed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("scheduled_tier", sa.String(), nullable=True),
        sa.Column("scheduled_interval", sa.String(), nullable=True),
        sa.Column("arrears_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_method", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "granted_tier IN ('free', 'basic', 'pro', 'enterprise')",
            name=op.f("ck_subscriptions_granted_tier"),
        ),
        sa.CheckConstraint(
            "interval IN ('monthly', 'yearly')", name=op.f("ck_subscriptions_interval")
        ),
        sa.CheckConstraint(
            "scheduled_interval IN ('monthly', 'yearly')",
            name=op.f("ck_subscriptions_scheduled_interval"),
        ),
        sa.CheckConstraint(
            "scheduled_tier IN ('free', 'basic', 'pro', 'enterprise')",
            name=op.f("ck_subscriptions_scheduled_tier"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'trialing', 'past_due', 'unpaid', 'paused', 'incomplete', 'incomplete_expired', 'canceled')",
            name=op.f("ck_subscriptions_status"),
        ),
        sa.CheckConstraint(
            "tier IN ('free', 'basic', 'pro', 'enterprise')", name=op.f("ck_subscriptions_tier")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_subscriptions_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("customer_id", name=op.f("uq_subscriptions_customer_id")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_subscriptions_provider_id")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_subscriptions_user_id_id")),
        sa.UniqueConstraint("user_id", name=op.f("uq_subscriptions_user_id")),
    )
    op.create_index("ix_subscriptions_next_look", "subscriptions", ["next_look_at"], unique=False)
    op.create_table(
        "usage_periods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("usage", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_usage_periods_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_periods")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_usage_periods_user_id_id")),
        sa.UniqueConstraint(
            "user_id", "period_start", name=op.f("uq_usage_periods_user_id_period_start")
        ),
    )

    for statement in ROW_LEVEL_SECURITY:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("usage_periods")
    op.drop_index("ix_subscriptions_next_look", table_name="subscriptions")
    op.drop_table("subscriptions")
    op.drop_index(
        "ix_notices_undelivered",
        table_name="notices",
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.drop_table("notices")
    op.drop_index(
        "uq_billing_commands_open",
        table_name="billing_commands",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_index("ix_billing_commands_user_time", table_name="billing_commands")
    op.drop_table("billing_commands")
    op.drop_index(
        "ix_stripe_events_unhandled",
        table_name="stripe_events",
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.drop_table("stripe_events")
